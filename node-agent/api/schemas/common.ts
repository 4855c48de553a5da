/** Fields that many objects of the API have. A schema with an `id` in its meta data is a component of the document. */

import { z } from 'zod';

/** A whole number from 0 to 2^64 - 1 on the wire; what this system sends is below 2^53. */
export const uint64 = (description: string) => z.number().int().nonnegative().meta({ description, format: 'uint64' });

/** RFC 3339. */
export const time = (description: string) => z.string().meta({ description, format: 'date-time' });

export const version = z.string().max(30).meta({
  id: 'Version',
  description: 'State of an object: another one after every change. Opaque; a change names the version it is based on.',
});

export const labels = z.record(z.string(), z.string()).meta({
  id: 'Labels',
  description: 'Keys and values. Keys that begin with `storageos.com/` are reserved for settings of the system.',
});

export const changes = {
  createdAt: time('When the object was made, by the clock of the node that made it.'),
  updatedAt: time('When the object was last changed, by the clock of the node that changed it.'),
  version,
};

export const errorSchema = z
  .object({ error: z.string() })
  .meta({ id: 'Error', description: 'What went wrong, for people.' });

export const acceptedSchema = z
  .object({ msg: z.string() })
  .meta({ id: 'AcceptedMessage', description: 'The operation goes on behind the request.' });
