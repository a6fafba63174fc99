// Serves the page and the client of a local run from a folder, as the platform's static assets do in a deployment.

/** workerd's service for a folder: a file's path is its URL. */
interface Env {
  FILES: { fetch(url: string): Promise<Response> };
}

const TYPES: Record<string, string> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { pathname } = new URL(request.url);
    const path = pathname === "/" ? "/index.html" : pathname;
    const type = /^\/[a-z-]+\.([a-z]+)$/.exec(path)?.[1];
    const contentType = type === undefined ? undefined : TYPES[type];
    if (contentType === undefined) return new Response(null, { status: 404 });
    const file = await env.FILES.fetch(`http://files${path}`);
    if (!file.ok) return new Response(null, { status: 404 });
    return new Response(file.body, { headers: { "content-type": contentType, "cache-control": "no-cache" } });
  },
};
