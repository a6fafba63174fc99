// The public face of what a page with several tabs, or in the background, needs beside the client.
export { steadyTimers } from "../liveness/steady-timers.ts";
export { type SharedSocket, type SharedSocketOptions, sharedSocket } from "./shared-socket.ts";
