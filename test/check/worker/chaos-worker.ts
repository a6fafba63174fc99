// The Worker under `npm run check:once`: the real one, whose objects can be made to die between two steps, whose clock can be stepped,
// whose answers between objects get lost, and that can be given a planted fault. Nothing of worker/ knows of it.
import { queueObjectName } from "../../../worker/address.ts";
import { Directory as RealDirectory } from "../../../worker/directory/directory-object.ts";
import type { Env } from "../../../worker/env.ts";
import { GatewayObject } from "../../../worker/gateway/gateway-object.ts";
import { QueueObject } from "../../../worker/queue/queue-object.ts";
import { router } from "../../../worker/router.ts";
import { topicObjectName } from "../../../worker/topic/placement.ts";
import { TopicObject } from "../../../worker/topic/topic-object.ts";
import { stepClock } from "./clock.ts";
import { Death, type DeathMoment } from "./death.ts";
import { isPlanted, plant, spoilBooks } from "./faults.ts";

/** The Worker's own bindings, and what the check adds to them. */
interface ChaosEnv extends Env {
  /** Name of the fault to plant, if any. */
  DUNLIN_CHECK_FAULT?: string;
  /** By how much the clock differs from the machine's when the broker starts, ms. */
  DUNLIN_CHECK_OFFSET_MS?: string;
}

const CONTROL = "/check/";
let begun = false;

/** Once for this run of the Worker: variables are not there before the first call. */
function begin(env: ChaosEnv): void {
  if (begun) return;
  begun = true;
  stepClock(Number(env.DUNLIN_CHECK_OFFSET_MS ?? 0));
  plant(env.DUNLIN_CHECK_FAULT ?? "");
}

export class Queue extends QueueObject {
  readonly #death: Death;

  constructor(ctx: DurableObjectState, env: ChaosEnv) {
    begin(env);
    super(ctx, env);
    this.#death = new Death(ctx);
    spoilBooks(ctx.storage.sql);
  }

  override apply(...call: Parameters<QueueObject["apply"]>): ReturnType<QueueObject["apply"]> {
    return this.#death.around(() => super.apply(...call));
  }

  override transfer(...call: Parameters<QueueObject["transfer"]>): ReturnType<QueueObject["transfer"]> {
    return this.#death.around(() => super.transfer(...call), true);
  }

  override fetch(request: Request): Promise<Response> {
    return this.#death.command(request);
  }
}

export class Topic extends TopicObject {
  readonly #death: Death;

  constructor(ctx: DurableObjectState, env: ChaosEnv) {
    begin(env);
    super(ctx, env);
    this.#death = new Death(ctx);
  }

  override apply(...call: Parameters<TopicObject["apply"]>): ReturnType<TopicObject["apply"]> {
    return this.#death.around(() => super.apply(...call));
  }

  override fetch(request: Request): Promise<Response> {
    return this.#death.command(request);
  }
}

export class Gateway extends GatewayObject {
  readonly #death: Death;

  constructor(ctx: DurableObjectState, env: ChaosEnv) {
    begin(env);
    super(ctx, env);
    this.#death = new Death(ctx);
  }

  override deliver(...call: Parameters<GatewayObject["deliver"]>): ReturnType<GatewayObject["deliver"]> {
    return this.#death.around(() => super.deliver(...call));
  }

  override topicDeliver(
    ...call: Parameters<GatewayObject["topicDeliver"]>
  ): ReturnType<GatewayObject["topicDeliver"]> {
    if (isPlanted("topic-packet-dropped") && Math.random() < 0.2) return Promise.resolve({ unwanted: [] });
    return this.#death.around(() => super.topicDeliver(...call), true);
  }

  override fetch(request: Request): Promise<Response> {
    if (!isControl(request)) return super.fetch(request);
    return this.#death.command(request);
  }
}

export class Directory extends RealDirectory {
  readonly #death: Death;

  constructor(ctx: DurableObjectState, env: ChaosEnv) {
    begin(env);
    super(ctx, env);
    this.#death = new Death(ctx);
  }

  override fetch(request: Request): Promise<Response> {
    return this.#death.command(request);
  }
}

function isControl(request: Request): boolean {
  return new URL(request.url).pathname.startsWith(CONTROL);
}

/** `POST /check/evict?room=queue&name=jobs&moment=now`, `POST /check/clock?offsetMs=1000`. */
async function control(request: Request, env: ChaosEnv): Promise<Response> {
  const url = new URL(request.url);
  const query = (field: string) => url.searchParams.get(field) ?? "";
  if (url.pathname === `${CONTROL}clock`) {
    stepClock(Number(query("offsetMs")));
    return Response.json({ now: Date.now() });
  }
  const namespace = "default";
  const name = query("name");
  const rooms = {
    queue: () => env.QUEUE.getByName(queueObjectName(namespace, name)),
    topic: () => env.TOPIC.getByName(topicObjectName(env, namespace, name)),
    gateway: () => env.GATEWAY.getByName(name),
    directory: () => env.DIRECTORY.getByName(namespace),
  };
  const room = rooms[query("room") as keyof typeof rooms]();
  const moment = query("moment") as DeathMoment;
  // An object that dies at once answers nothing.
  const died = await room.fetch(new Request(request.url, { method: "POST" })).then(
    () => moment !== "now",
    () => moment === "now",
  );
  return Response.json({ died });
}

export default {
  fetch(request: Request, env: ChaosEnv, ctx: ExecutionContext): Promise<Response> | Response {
    begin(env);
    return isControl(request) ? control(request, env) : router.fetch(request, env, ctx);
  },
};
