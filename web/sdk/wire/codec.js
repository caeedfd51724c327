/**
 * bincode's standard configuration (little-endian, variable-length integers), as `src/wire/codec.rs` uses it.
 *
 * A {@link Codec} describes a shape once, for encoding, decoding and the type checker. Nothing here trusts a length:
 * it is compared with what is there before anything is made of it.
 */
import { TertuliaError } from '../error.js';

/** The longest message, in bytes. */
export const MESSAGE_BYTES_MAX = 64 * 1024;

/**
 * @template T
 * @typedef {{ write(writer: Writer, value: T): void, read(reader: Reader): T }} Codec
 */
/** @template C @typedef {C extends Codec<infer T> ? T : never} ValueOf */
/** @typedef {Record<string, Codec<any>>} Fields */
/** @template {Fields} F @typedef {{ [K in keyof F]: ValueOf<F[K]> }} StructOf */
/**
 * @template {Record<string, Fields>} V
 * @typedef {{ [K in keyof V]: { type: K } & StructOf<V[K]> }[keyof V]} VariantOf
 */

/** @param {string} what */
export function malformed(what) {
  return new TertuliaError('wire_malformed', `A message cannot be understood: ${what}. Reload the page to get the relay's own version.`);
}

const text = { encoder: new TextEncoder(), decoder: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }) };
const MARKERS = /** @type {const} */ ({ 2: 0xfb, 4: 0xfc, 8: 0xfd });
const SINGLE_BYTE_MAX = 0xfa;

export class Writer {
  #bytes = new Uint8Array(256);
  #length = 0;

  /** @param {number} byte */
  byte(byte) {
    this.#reserve(1);
    this.#bytes[this.#length++] = byte;
  }

  /** @param {Uint8Array} bytes */
  bytes(bytes) {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** @param {number} value @param {number} max */
  integer(value, max) {
    if (!Number.isInteger(value) || value < 0 || value > max) throw malformed(`${value} is not a whole number up to ${max}`);
    if (value <= SINGLE_BYTE_MAX) return this.byte(value);
    const width = value <= 0xffff ? 2 : value <= 0xffffffff ? 4 : 8;
    this.byte(MARKERS[width]);
    for (let rest = value, at = 0; at < width; at++, rest = Math.floor(rest / 256)) this.byte(rest % 256);
  }

  finish() {
    return this.#bytes.slice(0, this.#length);
  }

  /** @param {number} more */
  #reserve(more) {
    const needed = this.#length + more;
    if (needed > MESSAGE_BYTES_MAX) throw new TertuliaError('too_large', `A message may have at most ${MESSAGE_BYTES_MAX} bytes. Send less at once.`);
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}

export class Reader {
  #bytes;
  #at = 0;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    if (bytes.length > MESSAGE_BYTES_MAX) throw malformed(`it has ${bytes.length} bytes`);
    this.#bytes = bytes;
  }

  get remaining() {
    return this.#bytes.length - this.#at;
  }

  byte() {
    return this.take(1)[0];
  }

  /** A view of the next bytes. @param {number} length */
  take(length) {
    if (length > this.remaining) throw malformed(`${length} bytes are announced, ${this.remaining} are there`);
    return this.#bytes.subarray(this.#at, (this.#at += length));
  }

  /** @param {number} max */
  integer(max) {
    const first = this.byte();
    if (first <= SINGLE_BYTE_MAX) return first;
    const width = first === MARKERS[2] ? 2 : first === MARKERS[4] ? 4 : first === MARKERS[8] ? 8 : 0;
    if (width === 0) throw malformed('a number is too large');
    const value = this.take(width).reduceRight((sum, byte) => sum * 256 + byte, 0);
    if (value > max) throw malformed(`a number is over ${max}`);
    return value;
  }
}

/** @param {number} max @returns {Codec<number>} */
function integer(max) {
  return { write: (writer, value) => writer.integer(value, max), read: (reader) => reader.integer(max) };
}

export const u16 = integer(0xffff);
export const u32 = integer(0xffffffff);
/** Up to 2^53 - 1: what a JavaScript number holds exactly. */
export const u64 = integer(Number.MAX_SAFE_INTEGER);

/** @type {Codec<number>} */
export const u8 = {
  write(writer, value) {
    if (!Number.isInteger(value) || value < 0 || value > 0xff) throw malformed(`${value} is not a byte`);
    writer.byte(value);
  },
  read: (reader) => reader.byte(),
};

/** @type {Codec<boolean>} */
export const bool = {
  write: (writer, value) => writer.byte(value ? 1 : 0),
  read(reader) {
    const byte = reader.byte();
    if (byte > 1) throw malformed(`${byte} is neither true nor false`);
    return byte === 1;
  },
};

/** @type {Codec<Uint8Array>} */
export const byteList = {
  write(writer, value) {
    u64.write(writer, value.length);
    writer.bytes(value);
  },
  read: (reader) => reader.take(u64.read(reader)).slice(),
};

/** @type {Codec<string>} */
export const string = {
  write: (writer, value) => byteList.write(writer, text.encoder.encode(value)),
  read(reader) {
    const bytes = reader.take(u64.read(reader));
    try {
      return text.decoder.decode(bytes);
    } catch {
      throw malformed('text is not UTF-8');
    }
  },
};

/** @param {number} length @returns {Codec<Uint8Array>} */
export function byteArray(length) {
  return {
    write(writer, value) {
      if (value.length !== length) throw malformed(`${value.length} bytes where ${length} belong`);
      writer.bytes(value);
    },
    read: (reader) => reader.take(length).slice(),
  };
}

/** @template T @param {Codec<T>} inner @returns {Codec<T | null>} */
export function option(inner) {
  return {
    write(writer, value) {
      bool.write(writer, value !== null);
      if (value !== null) inner.write(writer, value);
    },
    read: (reader) => (bool.read(reader) ? inner.read(reader) : null),
  };
}

/** @template T @param {Codec<T>} inner @returns {Codec<T[]>} */
export function list(inner) {
  return {
    write(writer, values) {
      u64.write(writer, values.length);
      for (const value of values) inner.write(writer, value);
    },
    read(reader) {
      const length = u64.read(reader);
      // Every item takes at least one byte.
      if (length > reader.remaining) throw malformed(`${length} items are announced, ${reader.remaining} bytes are there`);
      return Array.from({ length }, () => inner.read(reader));
    },
  };
}

/** @template {Fields} F @param {F} fields @returns {Codec<StructOf<F>>} */
export function struct(fields) {
  const entries = Object.entries(fields);
  return {
    write(writer, value) {
      for (const [name, codec] of entries) codec.write(writer, value[name]);
    },
    read: (reader) => /** @type {any} */ (Object.fromEntries(entries.map(([name, codec]) => [name, codec.read(reader)]))),
  };
}

/**
 * An enum whose variants have fields; they stand in the order of their codes.
 * @template {Record<string, Fields>} V
 * @param {V} variants
 * @returns {Codec<VariantOf<V>>}
 */
export function variant(variants) {
  const names = Object.keys(variants);
  const bodies = Object.values(variants).map((fields) => struct(fields));
  return {
    write(writer, value) {
      const code = names.indexOf(String(value.type));
      if (code < 0) throw malformed(`there is no "${String(value.type)}"`);
      u32.write(writer, code);
      bodies[code].write(writer, /** @type {any} */ (value));
    },
    read(reader) {
      const code = u32.read(reader);
      if (code >= names.length) throw malformed(`it is of the unknown kind ${code}`);
      return /** @type {any} */ ({ type: names[code], ...bodies[code].read(reader) });
    },
  };
}

/**
 * An enum without fields, as its labels in the order of their codes.
 * @template {string} L
 * @param {readonly L[]} labels
 * @returns {Codec<L>}
 */
export function label(labels) {
  return {
    write(writer, value) {
      const code = labels.indexOf(value);
      if (code < 0) throw malformed(`there is no "${value}"`);
      u32.write(writer, code);
    },
    read(reader) {
      const code = u32.read(reader);
      if (code >= labels.length) throw malformed(`it names the unknown code ${code}`);
      return labels[code];
    },
  };
}

/** @template T @param {Codec<T>} codec @param {T} value @returns {Uint8Array<ArrayBuffer>} */
export function encode(codec, value) {
  const writer = new Writer();
  codec.write(writer, value);
  return writer.finish();
}

/** Decodes a value that takes up all of `bytes`. @template T @param {Codec<T>} codec @param {Uint8Array} bytes @returns {T} */
export function decode(codec, bytes) {
  const reader = new Reader(bytes);
  const value = codec.read(reader);
  if (reader.remaining > 0) throw malformed(`${reader.remaining} bytes follow it`);
  return value;
}
