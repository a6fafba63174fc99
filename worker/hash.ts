// Names as numbers: which gateway a client has, which object a topic, and what tells one queue's pushes from another's.

/** FNV-1a over UTF-16 units, with a final mix, 32 bits: sessions and topics stay where they are, so this never changes. */
export function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  return (value ^ (value >>> 13)) >>> 0;
}
