// A Worker that works through the queue for a while whenever its cron trigger fires.
import { connect } from "../client/index.ts";

interface Env {
  DUNLIN_URL: string;
  DUNLIN_TOKEN?: string;
  /** How long one run lasts. */
  RUN_MS?: string;
}

export default {
  async scheduled(_event: unknown, env: Env) {
    const dunlin = connect(env.DUNLIN_URL, env.DUNLIN_TOKEN ? { token: env.DUNLIN_TOKEN } : {});
    const signal = AbortSignal.timeout(Number(env.RUN_MS ?? 25_000));
    for await (const message of dunlin.queue<{ id: number }>("orders").consume({ credit: 16, signal })) {
      console.log(`order ${message.body.id}, attempt ${message.attempt}`);
      await message.ack();
    }
    await dunlin.close();
  },
};
