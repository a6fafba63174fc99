// PUBLISH packets made once and sent to many: the messages of a run, in each form that its receivers ask for.
import type { TopicRun } from "../../gateway/fanout.ts";
import { type Qos, RecordView } from "../../message/record.ts";
import type { Version } from "./codec/packets.ts";
import { type PublishFields, type PublishTemplate, publishTemplate } from "./codec/publish-template.ts";
import { propertiesOf } from "./messages.ts";

/** What makes the bytes of one receiver differ from another's. */
export interface Form {
  readonly version: Version;
  /** The retain flag is kept as it was published; otherwise it is cleared. */
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  /** The same for the same form. */
  readonly key: string;
}

/** An encoded PUBLISH with what it was made of, for receivers with topic aliases. */
export interface Made extends PublishTemplate {
  readonly fields: PublishFields;
  readonly version: Version;
}

/** Makes a form; 3.1 and 3.1.1 have the same PUBLISH. */
export function formOf(version: Version, retain: boolean, subscriptionIds: readonly number[]): Form {
  const ids = version === 5 ? subscriptionIds : [];
  return { version, retain, subscriptionIds: ids, key: `${version === 5 ? 5 : 4} ${retain} ${ids.join()}` };
}

/** One message in a form. */
export function made(view: RecordView, topic: string, qos: Qos, form: Form, now: number): Made {
  const { version, subscriptionIds } = form;
  const fields: PublishFields = {
    topic,
    payload: view.body,
    qos,
    retain: form.retain && view.retain,
    dup: false,
  };
  if (version === 5) {
    fields.properties = propertiesOf(view.decode(), now);
    if (subscriptionIds.length > 0) fields.properties.subscriptionIdentifiers = [...subscriptionIds];
  }
  return { ...publishTemplate(fields, version), fields, version };
}

/** The same with a topic alias; the topic itself is left out once the receiver knows the alias. */
export function withAlias({ fields, version }: Made, alias: number, known: boolean): PublishTemplate {
  const properties = { ...fields.properties, topicAlias: alias };
  return publishTemplate({ ...fields, topic: known ? "" : fields.topic, properties }, version);
}

/** The packets of one run. */
export class RunTemplates {
  readonly topic: string;
  /** The highest QoS among its messages. */
  readonly maxQos: Qos = 0;
  readonly #views: RecordView[] = [];
  readonly #now: number;
  readonly #made = new Map<string, Made[]>();
  readonly #joined = new Map<string, { bytes: Uint8Array; largest: number }>();

  constructor({ bytes, start, end, topic }: TopicRun, now: number) {
    this.topic = topic;
    this.#now = now;
    const view = new RecordView(bytes, start);
    for (; view.at < end; view.next()) {
      this.#views.push(new RecordView(bytes, view.at));
      if (view.qos > this.maxQos) this.maxQos = view.qos;
    }
  }

  get count(): number {
    return this.#views.length;
  }

  qos(at: number): Qos {
    return this.#views[at]!.qos;
  }

  retain(at: number): boolean {
    return this.#views[at]!.retain;
  }

  record(at: number): Uint8Array {
    return this.#views[at]!.record;
  }

  /** One packet. */
  at(at: number, qos: Qos, form: Form): Made {
    const key = `${qos} ${form.key}`;
    let list = this.#made.get(key);
    if (list === undefined) {
      list = [];
      this.#made.set(key, list);
    }
    list[at] ??= made(this.#views[at]!, this.topic, qos, form, this.#now);
    return list[at];
  }

  /** All packets at QoS 0, one after the other. */
  run(form: Form): Uint8Array {
    return this.#join(form).bytes;
  }

  /** Bytes of the largest packet at QoS 0. */
  largest(form: Form): number {
    return this.#join(form).largest;
  }

  #join(form: Form): { bytes: Uint8Array; largest: number } {
    const known = this.#joined.get(form.key);
    if (known !== undefined) return known;
    const packets = this.#views.map((_, at) => this.at(at, 0, form).bytes);
    const bytes = packets.length === 1 ? packets[0]! : concat(packets);
    const joined = { bytes, largest: Math.max(...packets.map(({ length }) => length)) };
    this.#joined.set(form.key, joined);
    return joined;
  }
}

/** Bytes one after the other. */
export function concat(parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
