import { z } from 'zod';
import { changes, uint64 } from './common.js';

const user = {
  id: z.string(),
  username: z.string(),
  isAdmin: z.boolean().meta({ description: 'Administrators may do everything.' }),
  groups: z.array(z.string()).meta({ description: 'Ids of the policy groups that the user is in.' }),
  ...changes,
};

export const userSchema = z.object(user).meta({ id: 'User' });

export const userSessionSchema = z
  .object({
    ...user,
    session: z.object({
      expiresInSeconds: uint64('Life of the token.'),
      token: z.string().meta({ description: 'For the Authorization header, after `Bearer` and a space.' }),
    }),
  })
  .meta({ id: 'UserSession' });
