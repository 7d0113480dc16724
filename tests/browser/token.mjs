// Tokens for gateways that ask for them.

import { createHmac } from 'node:crypto';

const SECRET = 'a secret of these tests that is long enough';

/** Settings of a gateway that takes these tokens. */
export const JWT = { SLUICE__AUTH__MODE: 'jwt', SLUICE__AUTH__JWT__SECRET: SECRET };

/** A token of someone who reads these channels for a minute, or so many seconds, and publishes on `inbox`. */
export function token(subscribe, seconds = 60) {
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const claims = { sub: 'ann', exp: Date.now() / 1000 + seconds, sluice: { subscribe, publish: ['inbox'] } };
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}
