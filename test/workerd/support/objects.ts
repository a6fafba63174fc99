// The objects of the Worker under test, by name.
import { env } from "cloudflare:workers";

interface Bindings {
  QUEUE: DurableObjectNamespace;
  GATEWAY: DurableObjectNamespace;
}

const bindings = env as unknown as Bindings;

/** The object of a queue. */
export function queueStub(name: string, namespace = "default"): DurableObjectStub {
  return bindings.QUEUE.getByName(`${namespace}:${name}`);
}

/** The one gateway of the tests. */
export function gatewayStub(): DurableObjectStub {
  return bindings.GATEWAY.getByName("gateway-0");
}
