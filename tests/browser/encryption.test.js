// End-to-end encryption: who has the link can read, nobody else, and nothing can be changed on the way.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHAT_PREFIX, ChatCipher, ENCRYPTION_BYTES, FrameCipher, newSecret } from '../../web/sdk/media/encryption.js';

const SECRET = 'AAECAwQFBgcICQoLDA0ODw';
const header = { track: 7, frame: 3, dependsOnDistance: 1, keyframe: false, temporalLayer: 2, spatialLayer: 1, audioLevel: 30, timestamp: 90_000 };
const frame = Uint8Array.from({ length: 5000 }, (_, at) => at % 256);
const failed = { code: 'encryption_failed' };

test('a frame comes back as it was, and no two payloads are the same', async () => {
  const [sender, receiver] = [await FrameCipher.create(SECRET, 'standup'), await FrameCipher.create(SECRET, 'standup')];
  const payload = await sender.encrypt(header, frame);
  assert.equal(payload.length, frame.length + ENCRYPTION_BYTES);
  assert.deepEqual(await receiver.decrypt(header, payload), frame);
  assert.notDeepEqual(await sender.encrypt(header, frame), payload);
});

test('a key can be given to a worker', async () => {
  const payload = await new FrameCipher((await FrameCipher.create(SECRET, 'standup')).key).encrypt(header, frame);
  assert.deepEqual(await (await FrameCipher.create(SECRET, 'standup')).decrypt(header, payload), frame);
});

for (const [what, secret, room] of [['secret', newSecret(), 'standup'], ['room', SECRET, 'other']]) {
  test(`another ${what} is another key`, async () => {
    const payload = await (await FrameCipher.create(SECRET, 'standup')).encrypt(header, frame);
    await assert.rejects((await FrameCipher.create(secret, room)).decrypt(header, payload), failed);
  });
}

for (const changed of [{ track: 8 }, { frame: 4 }, { dependsOnDistance: 2 }, { keyframe: true }, { temporalLayer: 1 }, { spatialLayer: 0 }, { audioLevel: 31 }, { timestamp: 90_001 }]) {
  test(`a header with another ${Object.keys(changed)} is noticed`, async () => {
    const cipher = await FrameCipher.create(SECRET, 'standup');
    const payload = await cipher.encrypt(header, frame);
    await assert.rejects(cipher.decrypt({ ...header, ...changed }, payload), failed);
  });
}

test('a payload that was changed or cut is noticed', async () => {
  const cipher = await FrameCipher.create(SECRET, 'standup');
  const payload = await cipher.encrypt(header, frame);
  for (const at of [0, 11, 12, payload.length - 1]) {
    const changed = payload.slice();
    changed[at] ^= 1;
    await assert.rejects(cipher.decrypt(header, changed), failed);
  }
  for (const length of [0, 1, 12, ENCRYPTION_BYTES - 1, ENCRYPTION_BYTES, payload.length - 1]) {
    await assert.rejects(cipher.decrypt(header, payload.slice(0, length)), failed);
  }
});

test('the fragment is no part of what is proved: a frame is decrypted whole', async () => {
  const cipher = await FrameCipher.create(SECRET, 'standup');
  const payload = await cipher.encrypt(header, frame);
  const came = { ...header, fragmentIndex: 5, fragmentCount: 6, parity: false };
  assert.deepEqual(await cipher.decrypt(came, payload), frame);
});

test('chat comes back as it was, bound to its message', async () => {
  const cipher = await ChatCipher.create(SECRET, 'standup');
  const [id, other] = [new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)];
  for (const text of ['Hello', '', 'Grüße ☕ 🎉']) {
    const body = await cipher.encrypt(id, text);
    assert.ok(body.startsWith(CHAT_PREFIX) && ChatCipher.isEncrypted(body));
    assert.match(body.slice(CHAT_PREFIX.length), /^[A-Za-z0-9_-]+$/);
    assert.equal(await cipher.decrypt(id, body), text);
    await assert.rejects(cipher.decrypt(other, body), failed);
  }
});

test('chat that is not encrypted, or not with this key, is not taken for it', async () => {
  const cipher = await ChatCipher.create(SECRET, 'standup');
  const id = new Uint8Array(16);
  for (const body of ['Hello', CHAT_PREFIX, `${CHAT_PREFIX}AAAA`, `${CHAT_PREFIX}???`, `${CHAT_PREFIX}A`, await (await ChatCipher.create(newSecret(), 'standup')).encrypt(id, 'Hello')]) {
    await assert.rejects(cipher.decrypt(id, body), failed);
  }
});

test('frames and chat have different keys', async () => {
  const [frames, chat] = [await FrameCipher.create(SECRET, 'standup'), await ChatCipher.create(SECRET, 'standup')];
  const payload = await frames.encrypt(header, frame);
  const body = CHAT_PREFIX + Buffer.from(payload).toString('base64url');
  await assert.rejects(chat.decrypt(new Uint8Array(16), body), failed);
});

test('a secret that is not whole is refused', async () => {
  for (const secret of ['', 'AAECAwQFBgcICQoLDA0O', 'AAECAwQFBgcICQoLDA0ODw==', 'not base64 at all, but long enough', SECRET.slice(0, -1)]) {
    await assert.rejects(FrameCipher.create(secret, 'standup'), { code: 'encryption_key' }, secret);
  }
  assert.match(newSecret(), /^[A-Za-z0-9_-]{22}$/);
  assert.notEqual(newSecret(), newSecret());
});
