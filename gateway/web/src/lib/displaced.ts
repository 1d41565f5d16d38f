/** How many rows of a list stand where they would not, were it sorted now: the least that must be moved to sort it.
 *
 * values: what the list is sorted by, top to bottom; null stands last, whichever way it is sorted.
 */
export function displaced(values: (number | null)[], descends: boolean): number {
  // The rest of a longest run that is in order already, found by patience: `tails[n]` ends the best run of n + 1.
  const tails: number[] = [];
  for (const value of values) {
    const key = value === null ? Infinity : descends ? -value : value;
    let [low, high] = [0, tails.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((tails[middle] as number) <= key) low = middle + 1;
      else high = middle;
    }
    tails[low] = key;
  }
  return values.length - tails.length;
}
