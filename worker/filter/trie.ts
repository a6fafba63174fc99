// Topic filters with values, kept level by level, so that the filters of a topic are found without looking at the others.

/** One level of the filters that share the levels above it. */
interface Node<V> {
  /** The levels below by their text; undefined while there is none. */
  below: Map<string, Node<V>> | undefined;
  /** The level below that is `+`. */
  plus: Node<V> | undefined;
  /** Values of the filter that ends here, and of the one that ends in `#` below; undefined while there is no such filter. */
  values: Set<V> | undefined;
  rest: Set<V> | undefined;
}

/**
 * Filters with the values that were added under them. Filters must have passed `checkFilter`.
 *
 * @example
 * const trie = new FilterTrie<string>();
 * trie.add("home/+/temperature", "ann");
 * trie.match("home/kitchen/temperature"); // ["ann"]
 */
export class FilterTrie<V> {
  readonly #root: Node<V> = newNode();
  #size = 0;
  #values = 0;

  /** How many filters have values. */
  get size(): number {
    return this.#size;
  }

  /** How many values there are, each counted once for each of its filters. */
  get values(): number {
    return this.#values;
  }

  /** Adds a value under a filter; false when it stands there already. */
  add(filter: string, value: V): boolean {
    const levels = filter.split("/");
    const rest = levels.at(-1) === "#";
    if (rest) levels.pop();
    let node = this.#root;
    for (const level of levels) node = childOf(node, level) ?? addChild(node, level);
    let values = rest ? node.rest : node.values;
    if (values === undefined) {
      values = new Set();
      if (rest) node.rest = values;
      else node.values = values;
      this.#size += 1;
    }
    if (values.has(value)) return false;
    values.add(value);
    this.#values += 1;
    return true;
  }

  /** Removes a value from under a filter, and the filter with its last value; false when it did not stand there. */
  remove(filter: string, value: V): boolean {
    const levels = filter.split("/");
    const rest = levels.at(-1) === "#";
    if (rest) levels.pop();
    const path: Node<V>[] = [this.#root];
    for (const level of levels) {
      const next = childOf(path.at(-1)!, level);
      if (next === undefined) return false;
      path.push(next);
    }
    const node = path.at(-1)!;
    const values = rest ? node.rest : node.values;
    if (!values?.delete(value)) return false;
    this.#values -= 1;
    if (values.size > 0) return true;
    this.#size -= 1;
    if (rest) node.rest = undefined;
    else node.values = undefined;
    prune(path, levels);
    return true;
  }

  /** Whether any value stands under exactly this filter. */
  has(filter: string): boolean {
    return this.#valuesOf(filter) !== undefined;
  }

  /** The values under exactly this filter, in the order in which they were added. */
  get(filter: string): V[] {
    return [...(this.#valuesOf(filter) ?? [])];
  }

  /**
   * The values of all filters that match a topic: a value comes once for each of its filters.
   *
   * @param topic a topic's name, without wildcards
   */
  match(topic: string): V[] {
    const found: V[] = [];
    const levels = topic.split("/");
    // [MQTT-4.7.2-1]
    if (topic.startsWith("$")) {
      const below = this.#root.below?.get(levels[0]!);
      if (below !== undefined) collect(below, levels, 1, found);
    } else collect(this.#root, levels, 0, found);
    return found;
  }

  /** Every filter with its values. */
  *[Symbol.iterator](): IterableIterator<[filter: string, values: V[]]> {
    // An own stack, because a filter may have hundreds of levels. The root's path is none: "" is a level too.
    const left: { path: string | undefined; node: Node<V> }[] = [{ path: undefined, node: this.#root }];
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const { path, node } = next;
      if (node.values !== undefined) yield [path!, [...node.values]];
      if (node.rest !== undefined) yield [joined(path, "#"), [...node.rest]];
      if (node.plus !== undefined) left.push({ path: joined(path, "+"), node: node.plus });
      for (const [level, child] of node.below ?? []) left.push({ path: joined(path, level), node: child });
    }
  }

  #valuesOf(filter: string): Set<V> | undefined {
    const levels = filter.split("/");
    const rest = levels.at(-1) === "#";
    if (rest) levels.pop();
    let node: Node<V> | undefined = this.#root;
    for (const level of levels) {
      node = childOf(node, level);
      if (node === undefined) return undefined;
    }
    return rest ? node.rest : node.values;
  }
}

function newNode<V>(): Node<V> {
  return { below: undefined, plus: undefined, values: undefined, rest: undefined };
}

function childOf<V>(node: Node<V>, level: string): Node<V> | undefined {
  return level === "+" ? node.plus : node.below?.get(level);
}

function addChild<V>(node: Node<V>, level: string): Node<V> {
  const child = newNode<V>();
  if (level === "+") node.plus = child;
  else {
    node.below ??= new Map();
    node.below.set(level, child);
  }
  return child;
}

function collect<V>(node: Node<V>, levels: string[], depth: number, found: V[]): void {
  // [MQTT-4.7.1-1] `#` is the parent level too.
  if (node.rest !== undefined) for (const value of node.rest) found.push(value);
  if (depth === levels.length) {
    if (node.values !== undefined) for (const value of node.values) found.push(value);
    return;
  }
  const below = node.below?.get(levels[depth]!);
  if (below !== undefined) collect(below, levels, depth + 1, found);
  // [MQTT-4.7.1-2]
  if (node.plus !== undefined) collect(node.plus, levels, depth + 1, found);
}

/** Takes away the nodes at the end of a path that hold nothing any more. */
function prune<V>(path: Node<V>[], levels: string[]): void {
  for (let at = path.length - 1; at > 0; at -= 1) {
    const node = path[at]!;
    if (node.values || node.rest || node.plus || node.below) return;
    const parent = path[at - 1]!;
    const level = levels[at - 1]!;
    if (level === "+") parent.plus = undefined;
    else {
      parent.below!.delete(level);
      if (parent.below!.size === 0) parent.below = undefined;
    }
  }
}

function joined(path: string | undefined, level: string): string {
  return path === undefined ? level : `${path}/${level}`;
}
