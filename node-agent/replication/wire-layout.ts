/**
 * Layouts of messages: one table of a message's fields, in the order of the wire, is its encoder and its decoder.
 * What a list may hold is checked before memory is taken for it.
 */

import { type Batch, ENTRY_BYTES, MAX_BATCH_ENTRIES } from '../../core/record.js';
import type { Order } from '../../core/types.js';
import { FRAME, type FrameName, WireError } from './wire.js';
import { type EncodedFrame, type HeadReader, type HeadWriter, ORDER_BYTES, UUID_BYTES } from './wire-fields.js';

/** A field of a head, both ways. Errors: WireError. */
export interface Field<T> {
  /** What it takes of the head; where that depends on the value, a function of it. */
  readonly bytes: number | ((value: T) => number);
  readonly write: (writer: HeadWriter, value: T) => void;
  readonly read: (reader: HeadReader) => T;
}

/** A field for each key, in the order of the wire. What is read as undefined is left out of the record. */
export type Fields<M> = { readonly [K in keyof M]-?: Field<M[K]> };

interface Named {
  readonly key: string;
  readonly field: Field<unknown>;
}

/** The fields of a message behind its `type`, or those of an item in a list. */
export class Layout<M extends object> {
  readonly #fields: readonly Named[];
  readonly #fixedBytes: number;
  readonly #variable: readonly { readonly key: string; readonly bytes: (value: unknown) => number }[];

  constructor(fields: Fields<M>) {
    this.#fields = Object.entries(fields).map(([key, field]) => ({ key, field: field as Field<unknown> }));
    const sizes = this.#fields.map(({ key, field: { bytes } }) => ({ key, bytes }));
    this.#fixedBytes = sizes.reduce((sum, { bytes }) => sum + (typeof bytes === 'number' ? bytes : 0), 0);
    this.#variable = sizes.flatMap(({ key, bytes }) => (typeof bytes === 'number' ? [] : [{ key, bytes }]));
  }

  /** Of the fields that always take the same. */
  get fixedBytes(): number {
    return this.#fixedBytes;
  }

  bytesOf(message: M): number {
    let total = this.#fixedBytes;
    for (const { key, bytes } of this.#variable) total += bytes(message[key as keyof M]);
    return total;
  }

  write(writer: HeadWriter, message: M): void {
    for (const { key, field } of this.#fields) field.write(writer, message[key as keyof M]);
  }

  /** Adds the fields to `record`. */
  read(reader: HeadReader, record: Record<string, unknown>): M {
    for (const { key, field } of this.#fields) {
      const value = field.read(reader);
      if (value !== undefined) record[key] = value;
    }
    return record as M;
  }
}

type OfType<M extends { readonly type: string }, T extends M['type']> = Extract<M, { readonly type: T }>;

/** For each type of message its fields, but `type` and those that all have in common. */
export type MessageFields<M extends { readonly type: FrameName }, Common extends keyof M> = {
  readonly [T in M['type']]: Fields<Omit<OfType<M, T>, 'type' | Common>>;
};

interface Known<M extends { readonly type: FrameName }> {
  readonly type: M['type'];
  readonly frame: number;
  readonly layout: Layout<object>;
}

/** All messages that one end sends: their frame types have the names of the messages'. */
export class MessageTable<M extends { readonly type: FrameName }, Common extends keyof M = never> {
  /** For what is said of a message that is none of these. */
  readonly #where: string;
  readonly #byName = new Map<string, Known<M>>();
  readonly #byFrame = new Map<number, Known<M>>();

  /** `common` come first in every message. */
  constructor(where: string, common: Fields<Pick<M, Common>>, fields: MessageFields<M, Common>) {
    this.#where = where;
    for (const type of Object.keys(fields) as M['type'][]) {
      const layout = new Layout({ ...common, ...fields[type] } as Fields<object>);
      const known = { type, frame: FRAME[type], layout };
      this.#byName.set(type, known);
      this.#byFrame.set(known.frame, known);
    }
  }

  bytesOf(message: M): number {
    return this.#byName.get(message.type)!.layout.bytesOf(message);
  }

  /** `writer` has room for so much. */
  write(writer: HeadWriter, message: M): EncodedFrame {
    const { frame, layout } = this.#byName.get(message.type)!;
    layout.write(writer, message);
    return writer.seal(frame);
  }

  /** What `reader` has not read yet is a message, and nothing else. Errors: WireError. */
  read(reader: HeadReader): M {
    const known = this.#byFrame.get(reader.type);
    if (known === undefined) throw new WireError('unexpected', `frame type ${reader.type} ${this.#where}`);
    const message = known.layout.read(reader, { type: known.type });
    reader.end();
    return message as M;
  }
}

const U64: Field<number> = { bytes: 8, write: (writer, value) => writer.u64(value), read: (reader) => reader.u64() };

/** At most 2^53 - 1. */
export const u64 = <T extends number>(): Field<T> => U64 as unknown as Field<T>;

const U32: Field<number> = { bytes: 4, write: (writer, value) => writer.u32(value), read: (reader) => reader.u32() };

export const u32 = (): Field<number> => U32;

const UUID: Field<string> = {
  bytes: UUID_BYTES,
  write: (writer, value) => writer.uuid(value),
  read: (reader) => reader.uuid(),
};

export const uuid = <T extends string>(): Field<T> => UUID as unknown as Field<T>;

/** Stands for "not known" where an id is optional. */
const NO_ID = '00000000-0000-0000-0000-000000000000';

export const optionalUuid = <T extends string>(): Field<T | undefined> => ({
  bytes: UUID_BYTES,
  write: (writer, value) => writer.uuid(value ?? NO_ID),
  read: (reader) => {
    const id = reader.uuid();
    return id === NO_ID ? undefined : (id as T);
  },
});

const ORDER: Field<Order> = {
  bytes: ORDER_BYTES,
  write: (writer, value) => writer.order(value),
  read: (reader) => reader.order(),
};

export const order = (): Field<Order> => ORDER;

/** A byte: the index in `values`, which are only ever appended to. */
export const choice = <T>(values: readonly T[]): Field<T> => ({
  bytes: 1,
  write: (writer, value) => {
    const index = values.indexOf(value);
    if (index < 0) throw new WireError('malformed', `no code for ${String(value)}`);
    writer.u8(index);
  },
  read: (reader) => reader.choice(values),
});

/** One byte of length, then Latin-1. */
export const text = (maxBytes: number): Field<string> => ({
  bytes: (value) => 1 + value.length,
  write: (writer, value) => {
    if (value.length > maxBytes) throw new WireError('too-long', `text of ${value.length} bytes`);
    writer.u8(value.length).bytes(Buffer.from(value, 'latin1'));
  },
  read: (reader) => {
    const length = reader.u8();
    if (length > maxBytes) throw new WireError('too-long', `text of ${length} bytes`);
    return reader.bytes(length).toString('latin1');
  },
});

/** The header's flag. */
const FLAG: Field<boolean> = {
  bytes: 0,
  write: (writer, value) => writer.flag(value),
  read: (reader) => reader.flag,
};

export const flag = (): Field<boolean> => FLAG;

/** The header's flag says whether there is one; its place is taken in any case. */
export const flaggedU64 = <T extends number>(): Field<T | undefined> => ({
  bytes: 8,
  write: (writer, value) => writer.flag(value !== undefined).u64(value ?? 0),
  read: (reader) => {
    const value = reader.u64() as T;
    return reader.flag ? value : undefined;
  },
});

/** A count in 32 bits, then so many items, at most `limit`; items always take the same. */
function list<T>(
  limit: number,
  itemBytes: number,
  write: (writer: HeadWriter, item: T) => void,
  read: (reader: HeadReader) => T,
): Field<readonly T[]> {
  return {
    bytes: (items) => 4 + items.length * itemBytes,
    write: (writer, items) => {
      writer.u32(items.length);
      for (const item of items) write(writer, item);
    },
    read: (reader) => {
      const count = reader.count(limit, itemBytes);
      const items: T[] = [];
      for (let i = 0; i < count; i++) items.push(read(reader));
      return items;
    },
  };
}

export const numbers = <T extends number>(limit: number): Field<readonly T[]> =>
  list<T>(
    limit,
    8,
    (writer, value) => writer.u64(value),
    (reader) => reader.u64() as T,
  );

/** Records of fields that always take the same. */
export const records = <T extends object>(limit: number, fields: Fields<T>): Field<readonly T[]> => {
  const layout = new Layout(fields);
  return list<T>(
    limit,
    layout.fixedBytes,
    (writer, item) => layout.write(writer, item),
    (reader) => layout.read(reader, {}),
  );
};

/** One for each entry of the batch that follows. */
const ENTRY_ORDERS: Field<readonly Order[]> = {
  ...list<Order>(MAX_BATCH_ENTRIES, ORDER_BYTES, ORDER.write, ORDER.read),
  read: (reader) => {
    const count = reader.count(MAX_BATCH_ENTRIES, ORDER_BYTES + ENTRY_BYTES);
    const orders: Order[] = [];
    for (let i = 0; i < count; i++) orders.push(reader.order());
    if (reader.left !== count * ENTRY_BYTES) throw new WireError('malformed', `${count} orders for other entries`);
    return orders;
  },
};

export const entryOrders = (): Field<readonly Order[]> => ENTRY_ORDERS;

/** The last field of a head: the entries take what is left of it, their payloads follow behind it. */
const BATCH: Field<Batch> = {
  bytes: (value) => value.entries.length,
  write: (writer, value) => writer.batch(value),
  read: (reader) => reader.batch(),
};

export const batch = (): Field<Batch> => BATCH;
