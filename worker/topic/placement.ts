// Which object owns a topic: a pure function of the name and two variables, so that everybody finds the same one.
import { matches } from "../filter/filter.ts";
import { hash } from "../hash.ts";

/** The variables that decide. */
export interface PlacementVars {
  /** How many objects share the topics that have none of their own; 0: every topic has its own. */
  TOPIC_BUCKETS?: string;
  /** Filters, separated by commas, whose topics have an object of their own anyway. */
  TOPIC_OWN?: string;
}

interface Rules {
  buckets: number;
  own: string[];
}

const MAX_BUCKETS = 100_000;
/** The rules by their variables: read once, as they stand in every call. */
const known = new Map<string, Rules>();

/**
 * The name of the object that owns a topic: `NAMESPACE:TOPIC`, or `NAMESPACE:#NUMBER` when it is pooled. Neither a namespace nor a
 * topic holds `#`, so the two forms never meet.
 *
 * @example topicObjectName({ TOPIC_BUCKETS: "64" }, "default", "news/sport") // "default:#0" … "default:#63"
 */
export function topicObjectName(vars: PlacementVars, namespace: string, topic: string): string {
  const { buckets, own } = rules(vars);
  if (buckets === 0 || own.some((filter) => matches(filter, topic))) return `${namespace}:${topic}`;
  return `${namespace}:#${hash(topic) % buckets}`;
}

/** The topic of an object that has only one, undefined for a pool. */
export function ownTopic(objectName: string): string | undefined {
  const name = objectName.slice(objectName.indexOf(":") + 1);
  return name.startsWith("#") ? undefined : name;
}

function rules(vars: PlacementVars): Rules {
  const { TOPIC_BUCKETS = "0", TOPIC_OWN = "" } = vars;
  const key = `${TOPIC_BUCKETS} ${TOPIC_OWN}`;
  let found = known.get(key);
  if (found === undefined) {
    const count = Number(TOPIC_BUCKETS);
    const buckets = Number.isInteger(count) && count >= 1 ? Math.min(count, MAX_BUCKETS) : 0;
    found = {
      buckets,
      own: TOPIC_OWN.split(",")
        .map((filter) => filter.trim())
        .filter((filter) => filter !== ""),
    };
    known.set(key, found);
  }
  return found;
}
