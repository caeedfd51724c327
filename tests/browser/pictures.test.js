// What programs send each other with the SDK, through a relay: pictures of the size that is seen, in the codec that was asked for, and sound
// behind a key.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startFirefox } from './firefox.js';
import { complaints } from './meeting.js';
import { looksLike } from './pattern.js';
import { allStarted, startBrowser, startRelay } from './relay.js';
import { eventually, openChromium, openFirefox } from './tab.js';
import { isQuiet, listen } from './witness.js';

/** @typedef {import('./tab.js').Tab} Tab */
/** @typedef {import('../../web/sdk/statistics.js').TrackStatistics} TrackStatistics */

const WITHOUT_CLICK = '--autoplay-policy=no-user-gesture-required';
const LARGE = { width: 640, height: 360 };
const SMALL = { width: 320, height: 180 };
/** How long to listen at a time: a beep comes twice a second. */
const LISTEN_MS = 1000;

/** @type {import('playwright-core').Browser} */
let chromium;
/** @type {import('./firefox.js').Firefox} */
let firefox;
/** @type {import('./relay.js').Relay} */
let relay;

before(async () => {
  [chromium, firefox, relay] = await allStarted([startBrowser({ args: [WITHOUT_CLICK] }), startFirefox(), startRelay()]);
});

after(async () => {
  await Promise.all([chromium?.close(), firefox?.stop()]);
  await relay?.stop();
  assert.deepEqual(complaints, []);
});

/**
 * Someone in a room, with a tile for the camera of each other one. Any page of the relay will do.
 * @param {Tab['kind']} kind @param {string} name @param {{ room: string, video?: object, encryptionKey?: string }} options @param {{ width: number, height: number }} [size] of the tiles, in pixels
 */
async function join(kind, name, options, size = LARGE) {
  const url = new URL('/health', relay.url).href;
  const tab = await (kind === 'chromium' ? openChromium(chromium, url) : openFirefox(firefox, url));
  await tab.evaluate(async ({ name, options, size }) => {
    const { Room } = await import(new URL('/sdk/tertulia.js', location.href).href);
    const room = new Room({ name, ...options });
    const show = (/** @type {any} */ track) => {
      const tile = document.body.appendChild(document.createElement('div'));
      Object.assign(tile.style, { width: `${size.width}px`, height: `${size.height}px` });
      track.attach(tile);
    };
    room.on('trackPublished', (/** @type {any} */ { track }) => show(track));
    await room.connect(location.href);
    for (const { tracks } of room.remoteParticipants.values()) for (const track of tracks.values()) show(track);
    Object.assign(window, { room });
  }, { name, options, size });
  return tab;
}

/** @param {Tab} tab @param {'Camera' | 'Microphone'} device @param {boolean} isOn */
const turn = (tab, device, isOn) => tab.evaluate(({ device, isOn }) => /** @type {any} */ (window).room.localParticipant[`set${device}Enabled`](isOn).then(() => {}), { device, isOn });

/** What comes, or what leaves. @param {Tab} tab @param {'in' | 'out'} direction @returns {Promise<TrackStatistics[]>} */
const tracks = (tab, direction) => tab.evaluate((direction) => /** @type {any} */ (window).room.stats().tracks.filter((/** @type {TrackStatistics} */ track) => track.direction === direction), direction);

/** @param {Tab} tab @param {string} what @param {'in' | 'out'} direction @param {(track: TrackStatistics) => boolean} holds of the only track */
const tells = (tab, what, direction, holds) => eventually(`${what} in ${tab.kind}`, () => tracks(tab, direction), (all) => all.length === 1 && holds(all[0]));

test('of three people, who has a large tile gets a large picture and who has a small one a small one', { timeout: 120_000 }, async () => {
  const room = { room: 'sizes', video: LARGE };
  const [ana, bo, carmen] = await Promise.all([join('chromium', 'Ana', room), join('chromium', 'Bo', room, LARGE), join('chromium', 'Carmen', room, SMALL)]);
  await turn(ana, 'Camera', true);
  const [[large], [small]] = await Promise.all([
    tells(bo, 'the large picture', 'in', ({ spatialLayer, framesDrawn = 0 }) => spatialLayer === 1 && framesDrawn > 5),
    tells(carmen, 'the small picture', 'in', ({ spatialLayer, framesDrawn = 0 }) => spatialLayer === 0 && framesDrawn > 5),
  ]);
  assert.ok(Number(large.height) > Number(small.height), `${large.height} and ${small.height} lines`);
  await tells(ana, 'two sizes', 'out', ({ renditions }) => renditions?.length === 2);
  // Nobody sees the large one any more: it is no longer made.
  await bo.evaluate(() => /** @type {any} */ (window).room.disconnect(), null);
  await tells(ana, 'the small size alone', 'out', ({ renditions }) => renditions?.length === 1 && renditions[0].layer === 0);
  await Promise.all([ana, bo, carmen].map((tab) => tab.close()));
});

/** Publishes a camera in VP9. A machine that is busy with something else may prove too slow at first. @param {Tab} tab */
async function filmInVp9(tab) {
  await eventually(`a camera in VP9 in ${tab.kind}`, async () => {
    await turn(tab, 'Camera', true);
    const [{ codec }] = await tells(tab, 'a codec', 'out', (track) => track.codec !== undefined);
    if (codec === 'vp8') await tab.evaluate(() => {
      const { localParticipant } = /** @type {any} */ (window).room;
      return localParticipant.unpublishTrack(localParticipant.tracks.get('camera'));
    }, null);
    return codec;
  }, (codec) => codec === 'vp09.00.21.08');
}

test('in VP9 and behind a key, Chromium and Firefox see and hear each other, and nobody without the key does', { timeout: 180_000 }, async () => {
  const sealed = { room: 'sealed', video: { ...SMALL, frameRate: 10, codec: 'vp9' }, encryptionKey: 'AAECAwQFBgcICQoLDA0ODw' };
  const kinds = /** @type {const} */ (['chromium', 'firefox']);
  const [eve, ...tabs] = await Promise.all([join('chromium', 'Eve', { room: 'sealed' }, SMALL), ...kinds.map((kind) => join(kind, kind, sealed, SMALL))]);
  for (const tab of tabs) {
    const { webTransport, devices, encoding, decoding, problems } = await tab.evaluate(() => /** @type {any} */ (window).room.constructor.checkSupport(), null);
    assert.deepEqual({ webTransport, devices, encoding, decoding, problems }, { webTransport: true, devices: true, encoding: true, decoding: true, problems: [] }, tab.kind);
    await filmInVp9(tab);
    await turn(tab, 'Microphone', true);
  }
  await Promise.all(tabs.map(async (tab, at) => {
    await eventually(`pictures in ${tab.kind}`, () => tracks(tab, 'in'), (all) => all.some(({ framesDrawn = 0, decoderFailures }) => framesDrawn > 5 && decoderFailures === 0));
    await looksLike(tab, 'canvas', kinds[1 - at]);
    await eventually(`a sound in ${tab.kind}`, () => listen(tab, LISTEN_MS), (heard) => !isQuiet(heard));
  }));
  const came = await eventually('all four on their way to Eve', () => tracks(eve, 'in'), (all) => all.length === 4 && all.every(({ received = 0 }) => received > 0));
  assert.ok(came.every(({ framesDrawn = 0 }) => framesDrawn === 0), JSON.stringify(came));
  assert.ok(isQuiet(await listen(eve, LISTEN_MS)));
  await Promise.all([eve, ...tabs].map((tab) => tab.close()));
});
