import { z } from 'zod';
import { optional } from '../request.js';

/** A whole number of 64 bits, of which JSON numbers above 2^53 arrive as bigints. */
const integer64 = (min: bigint, max: bigint, format: string) =>
  z
    .union([z.number().int(), z.bigint()])
    .refine((value) => value >= min && value <= max, 'is not a whole number of 64 bits')
    .meta({ wire: { type: 'integer', format } });

const uint64 = integer64(0n, 2n ** 64n - 1n, 'uint64');
const int64 = integer64(-(2n ** 63n), 2n ** 63n - 1n, 'int64');

const MAX_EXPORTS = 64;
const MAX_ACLS = 256;
const MAX_PATH_CHARS = 4096;
const MAX_MATCHER_CHARS = 1024;

const acl = z
  .object({
    identity: optional(
      z.object({
        identityType: optional(z.enum(['cidr', 'hostname', 'netgroup'])),
        matcher: optional(z.string().max(MAX_MATCHER_CHARS)),
      }),
    ),
    squashConfig: optional(
      z.object({
        uid: optional(int64),
        gid: optional(int64),
        squash: optional(z.enum(['none', 'root', 'rootuid', 'all'])),
      }),
    ),
    accessLevel: optional(z.enum(['ro', 'rw'])),
  })
  .meta({ id: 'NfsAcl' });

export const nfsExport = z
  .object({
    exportID: optional(uint64),
    path: optional(z.string().max(MAX_PATH_CHARS)),
    pseudoPath: optional(z.string().max(MAX_PATH_CHARS)),
    acls: optional(z.array(acl).max(MAX_ACLS)),
  })
  .meta({ id: 'NfsExportConfig' });

export const nfsExports = optional(z.array(nfsExport).max(MAX_EXPORTS));
