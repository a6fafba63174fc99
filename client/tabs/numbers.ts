// Which tab a number belongs to: requests and subscriptions of all tabs travel over one socket, and their numbers alone say whose
// they are. So a new leader needs no table of what the one before it had sent.
//
//   52        29 28          0      tab 0: hello and auth of the leader, and what it asks for itself
//   +-----------+-------------+
//   |    tab    |   number    |     a safe integer; the broker takes them up to 2^53 - 1
//   +-----------+-------------+

/** How many requests, and how many subscriptions, a tab may number: at 1,000 a second they last six days. */
export const NUMBERS = 2 ** 29;
const TABS = 2 ** 24;

/**
 * A tab's number.
 *
 * @param chance uniform from 0 to 1
 */
export function chooseTab(chance: number): number {
  return 1 + Math.floor(chance * (TABS - 1));
}

/** The number that a tab's requests and subscriptions count up from. */
export function firstNumberOf(tab: number): number {
  return tab * NUMBERS;
}

/** The tab that a number was given by. */
export function tabOf(number: number): number {
  return Math.floor(number / NUMBERS);
}
