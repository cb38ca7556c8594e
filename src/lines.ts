/** Newline-delimited JSON, both ends: how the messages of protocol.ts become bytes, and bytes lines. */

export function encodeLine(message: unknown): string {
  return `${JSON.stringify(message)}\n`;
}

/** Cuts a byte stream into lines. */
export class LineSplitter {
  #rest: Buffer[] = [];

  /** The lines that `chunk` completes. */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const piece = chunk.subarray(start, end);
      lines.push(this.#rest.length === 0 ? piece.toString() : this.#join(piece));
      start = end + 1;
    }
    // A copy: the caller may fill the same buffer again.
    if (start < chunk.length) this.#rest.push(Buffer.from(chunk.subarray(start)));
    return lines;
  }

  #join(last: Buffer): string {
    const line = Buffer.concat([...this.#rest, last]).toString();
    this.#rest = [];
    return line;
  }
}

const NEWLINE = 10;
