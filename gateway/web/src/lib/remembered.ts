/** Small choices of the reader, kept in the browser; a browser that keeps nothing only forgets them. */

export interface Remembered<T> {
  read(): T;
  write(value: T): void;
}

export function remembered<T>(name: string, initial: T): Remembered<T> {
  const key = `debt-market.${name}`;
  return {
    read() {
      try {
        const text = localStorage.getItem(key);
        return text === null ? initial : (JSON.parse(text) as T);
      } catch {
        return initial;
      }
    },
    write(value) {
      try {
        localStorage.setItem(key, JSON.stringify(value));
      } catch {
        // storage is full or off: the choice lasts as long as the page
      }
    },
  };
}
