// RabbitMQ as a peer: a durable classic queue over web_stomp, or MQTT over web_mqtt, on a node of its own with its own port mapper (epmd).
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Child, firstExisting, freePorts, start, stop, until } from "../support/processes.ts";
import type { Running, RunningMqtt, Target } from "../targets/target.ts";

const START_TIMEOUT_MS = 120_000;
// Debian's /usr/sbin/rabbitmq-server changes to the system's user and its folders; the script behind it does not.
const servers = ["/usr/lib/rabbitmq/bin/rabbitmq-server"];
const portMappers = ["/usr/bin/epmd", "/usr/lib/erlang/bin/epmd"];

/** RabbitMQ with everything about storage and confirms at its default. */
export const rabbitmqTarget: Target = {
  name: "rabbitmq",
  durability:
    "durable classic queue, persistent messages: a publish is confirmed after the fsync of the queue's journal (batched), or " +
    "without one when its message was consumed and acked before; delivery does not wait for the disk; acks are not fsynced",
  async start(folder) {
    const node = await startNode(folder, "rabbitmq.conf", "rabbitmq_web_stomp");
    return "skipped" in node ? node : { ...node, wire: "stomp" };
  },
};

/** RabbitMQ as an MQTT broker, everything at its default; this series treats QoS 2 as QoS 1. */
export const mqttRabbitmqTarget: Target<RunningMqtt> = {
  name: "mqtt-rabbitmq",
  durability:
    "QoS 1 is acknowledged once every queue has it (after the fsync of a durable one, batched), or once routed where none does; " +
    "a QoS 0 subscriber's queue is in memory",
  async start(folder) {
    const node = await startNode(folder, "rabbitmq-mqtt.conf", "rabbitmq_web_mqtt");
    return "skipped" in node ? node : { ...node, maxQos: 1 };
  },
};

async function startNode(
  folder: string,
  configuration: string,
  plugin: string,
): Promise<Running | { skipped: string }> {
  const program = await firstExisting(servers);
  const portMapper = await firstExisting(portMappers);
  if (program === undefined || portMapper === undefined)
    return { skipped: "rabbitmq-server is not installed" };
  const [mapperPort, nodePort, webPort] = (await freePorts(3)) as [number, number, number];
  const env = await environment(folder, { configuration, plugin, mapperPort, nodePort, webPort });
  const mapper = start(portMapper, ["-port", String(mapperPort), "-address", "127.0.0.1"], env);
  const node = start(program, [], env);
  try {
    await accepting(node, webPort);
  } catch (error) {
    await stop(node);
    await stop(mapper);
    throw error;
  }
  return {
    url: `ws://127.0.0.1:${webPort}/ws`,
    version: /RabbitMQ \d+\.\d+\.\d+/.exec(node.printed())?.[0] ?? "RabbitMQ",
    pids: [node.pid, mapper.pid],
    async stop() {
      await stop(node);
      await stop(mapper);
    },
  };
}

interface NodeSettings {
  configuration: string;
  plugin: string;
  mapperPort: number;
  nodePort: number;
  webPort: number;
}

/** Folders, ports and files of the node's own; nothing of a system-wide RabbitMQ is read or written. */
async function environment(folder: string, settings: NodeSettings) {
  const { configuration, plugin, mapperPort, nodePort, webPort } = settings;
  const config = join(folder, "rabbitmq.conf");
  const template = await readFile(new URL(configuration, import.meta.url), "utf8");
  await writeFile(config, template.replace("@WEB_PORT@", String(webPort)));
  const plugins = join(folder, "enabled_plugins");
  await writeFile(plugins, `[${plugin}].\n`);
  const home = join(folder, "home");
  await mkdir(home);
  return {
    PATH: process.env.PATH,
    LANG: "C.UTF-8",
    // The node keeps its cookie in the home folder.
    HOME: home,
    RABBITMQ_NODENAME: `dunlin-bench-${process.pid}-${webPort}@localhost`,
    RABBITMQ_MNESIA_BASE: join(folder, "mnesia"),
    RABBITMQ_LOG_BASE: join(folder, "log"),
    RABBITMQ_CONFIG_FILE: config,
    RABBITMQ_CONF_ENV_FILE: "/dev/null",
    RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, "advanced.config"),
    RABBITMQ_ENABLED_PLUGINS_FILE: plugins,
    RABBITMQ_DIST_PORT: String(nodePort),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
    ERL_EPMD_PORT: String(mapperPort),
    ERL_EPMD_ADDRESS: "127.0.0.1",
  };
}

async function accepting(node: Child, webPort: number): Promise<void> {
  let ended = false;
  node.ended.then(() => {
    ended = true;
  });
  await until(`RabbitMQ's start (${node.printed()})`, START_TIMEOUT_MS, async () => {
    if (ended) throw new Error(`RabbitMQ ended:\n${node.printed()}`);
    // The listener answers a plain request with an error of HTTP; any answer means that it listens.
    return fetch(`http://127.0.0.1:${webPort}/ws`).then(
      () => true,
      () => false,
    );
  });
}
