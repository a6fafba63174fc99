// The objects of the Worker under test, by name, and their eviction.
import { evictDurableObject, listDurableObjectIds, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";

interface Bindings {
  QUEUE: DurableObjectNamespace;
  GATEWAY: DurableObjectNamespace;
  TOPIC: DurableObjectNamespace;
  DIRECTORY: DurableObjectNamespace;
}

const bindings = env as unknown as Bindings;

/** The object of a queue. */
export function queueStub(name: string, namespace = "default"): DurableObjectStub {
  return bindings.QUEUE.getByName(`${namespace}:${name}`);
}

/** The object of a topic. */
export function topicStub(topic: string, namespace = "default"): DurableObjectStub {
  return bindings.TOPIC.getByName(`${namespace}:${topic}`);
}

/** The books of a namespace. */
export function directoryStub(namespace = "default"): DurableObjectStub {
  return bindings.DIRECTORY.getByName(namespace);
}

/** The one gateway of the tests. */
export function gatewayStub(): DurableObjectStub {
  return bindings.GATEWAY.getByName("gateway-0");
}

/** Takes an object's memory away; its storage and its sockets stay. One that is not awake is left alone. */
export async function evict(stub: DurableObjectStub): Promise<void> {
  try {
    await evictDurableObject(stub, { webSockets: "hibernate" });
  } catch (error) {
    if (!/not (currently )?running/i.test(String(error))) throw error;
  }
}

/** Ends an object in the midst of its work: its memory and its sockets are gone, its storage stays. */
export async function crash(stub: DurableObjectStub): Promise<void> {
  await runInDurableObject(stub, (_, state) => state.abort("the test has ended this object")).catch(
    () => undefined,
  );
}

/** The Topic objects that exist. */
export function topicObjects(): Promise<DurableObjectId[]> {
  return listDurableObjectIds(bindings.TOPIC);
}
