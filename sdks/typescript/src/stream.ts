// Text that comes in pieces: lines of it, and server-sent events. Pure; reads nothing itself.

/** A longer line than this is none of the server's. */
const MAX_LINE_CHARACTERS = 4 << 20;

/** Thrown for a line that does not end. */
export class TooLong extends Error {}

/** Cuts pieces into lines, whatever pieces they come in. */
export class Lines {
  readonly #decoder = new TextDecoder();
  /** A carriage return at the end of a piece may be half of a line's end. */
  readonly #ends: RegExp;
  #rest = "";

  /** With `lineFeedOnly` a carriage return is a character as any other. */
  constructor(lineFeedOnly: boolean) {
    this.#ends = lineFeedOnly ? /\n/ : /\r\n|\n|\r(?!$)/;
  }

  /** The lines that end in this piece. */
  push(piece: Uint8Array): string[] {
    const lines = (this.#rest + this.#decoder.decode(piece, { stream: true })).split(this.#ends);
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > MAX_LINE_CHARACTERS) throw new TooLong("a line has no end");
    return lines;
  }

  /** Whether all ended with a line's end. */
  get whole(): boolean {
    return this.#rest === "";
  }
}

/** An event of a stream (HTML, server-sent events). */
export interface ServerEvent {
  type: string;
  data: string;
  /** The last id that was said, empty before the first. */
  id: string;
}

/** Makes events of lines. */
export class Events {
  #type = "";
  #data: string[] = [];
  #length = 0;
  #id = "";
  /** Milliseconds that the server wants between two connections. */
  retry: number | undefined;

  /** The event that this line ends. */
  push(line: string): ServerEvent | undefined {
    if (line === "") {
      const event = { type: this.#type || "message", data: this.#data.join("\n"), id: this.#id };
      const some = this.#data.length > 0;
      this.#type = "";
      this.#data = [];
      this.#length = 0;
      return some ? event : undefined;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    else if (name === "data") {
      this.#length += value.length;
      if (this.#length > MAX_LINE_CHARACTERS) throw new TooLong("an event has no end");
      this.#data.push(value);
    }
    return undefined;
  }
}
