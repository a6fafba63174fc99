// Ids that no message has: notes of a queue in its dedup window.

/** What begins so is no publisher's id: a queue keeps what else it must recognise for as long as an id under it. */
export const RESERVED_ID = "\0";
