// The rules of MQTT 4.7 written down as slowly and plainly as they read, to hold the quick ways against.

/** Whether a filter matches a topic. */
export function slowMatches(filter: string, topic: string): boolean {
  const wild = filter.startsWith("+") || filter.startsWith("#");
  if (topic.startsWith("$") && wild) return false;
  return levelsMatch(filter.split("/"), topic.split("/"));
}

function levelsMatch(filter: string[], topic: string[]): boolean {
  const [pattern, ...patterns] = filter;
  if (pattern === undefined) return topic.length === 0;
  if (pattern === "#") return true;
  const [level, ...levels] = topic;
  if (level === undefined) return false;
  return (pattern === "+" || pattern === level) && levelsMatch(patterns, levels);
}
