// Tokens of LiveKit's SDK, byte for byte those that tests/access_tokens.rs has the relay check. `GOLDEN=write` writes them.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { mock, test } from 'node:test';
import { TrackSource } from 'livekit-server-sdk';
import { livekitToken } from './livekit.js';

const PATH = new URL('../golden/livekit.json', import.meta.url);
const NOW_MS = 1_700_000_000_000;
const base = { apiKey: 'application', secret: 'a secret of LiveKit, 32 bytes or more', room: 'standup', identity: 'ana' };

/** By the names in the golden file. @type {Record<string, Partial<Parameters<typeof livekitToken>[0]>>} */
const tokens = {
  'a participant': {},
  'with everything': { name: 'Ana María 👋', metadata: '{"team":7}', ttl: '90s', grants: { roomAdmin: true, hidden: true, recorder: true, canUpdateOwnMetadata: true, roomCreate: true } },
  'a viewer': { grants: { canPublish: false } },
  'a viewer who may write': { grants: { canPublish: false, canPublishData: true } },
  'a camera alone': { grants: { canPublishSources: [TrackSource.CAMERA] } },
  'a screen with sound': { grants: { canPublishSources: [TrackSource.SCREEN_SHARE, TrackSource.SCREEN_SHARE_AUDIO], canSubscribe: false } },
  'everything forbidden': { grants: { canPublish: false, canSubscribe: false, canPublishData: false, roomAdmin: false, hidden: false } },
};

mock.timers.enable({ apis: ['Date'], now: NOW_MS });
/** @type {{ name: string, token: string, grant: object }[]} */
const golden = JSON.parse(readFileSync(PATH, 'utf8'));

if (process.env.GOLDEN === 'write') {
  for (const entry of golden) entry.token = await livekitToken({ ...base, ...tokens[entry.name] });
  writeFileSync(PATH, `${JSON.stringify(golden, null, 2)}\n`);
}

test('every token has its entry', () => {
  assert.deepEqual(golden.map(({ name }) => name), Object.keys(tokens));
});

for (const { name, token } of golden) {
  test(`the SDK makes the token of "${name}" as it did`, async () => {
    assert.equal(await livekitToken({ ...base, ...tokens[name] }), token);
  });
}

test('the claims are where the mapping says', async () => {
  const token = await livekitToken({ ...base, ...tokens['with everything'] });
  const [header, claims] = token.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()));
  assert.deepEqual(header, { alg: 'HS256' });
  const { video, ...others } = claims;
  const now = NOW_MS / 1000;
  assert.deepEqual(others, { iss: 'application', sub: 'ana', name: 'Ana María 👋', metadata: '{"team":7}', nbf: now, exp: now + 90 });
  const { room, roomJoin, roomAdmin, hidden } = video;
  assert.deepEqual({ room, roomJoin, roomAdmin, hidden }, { room: 'standup', roomJoin: true, roomAdmin: true, hidden: true });
});
