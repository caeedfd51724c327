// One's own camera, microphone and screen in a meeting: on, off, another one, none, gone.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startFirefox } from './firefox.js';
import { diagnostics, enter, enterWithoutDevices, isIn, orTellAll, roomAt, say, sees, shows, showsNo, testId, turn } from './guest.js';
import { complaints } from './meeting.js';
import { showsPattern } from './pattern.js';
import { allStarted, startBrowser, startRelay } from './relay.js';
import { eventually, has, openChromium, openFirefox, reads, until } from './tab.js';
import { heldDevices, isQuiet, listen, settingsOf, soundStates, unplug } from './witness.js';

/** @typedef {import('./tab.js').Tab} Tab */

/** How long to listen at a time: a beep comes twice a second. */
const LISTEN_MS = 1000;

/** @type {import('playwright-core').Browser} */
let chromium;
/** @type {import('./firefox.js').Firefox} */
let firefox;
/** @type {import('./relay.js').Relay} */
let relay;

before(async () => {
  [chromium, firefox, relay] = await allStarted([startBrowser(), startFirefox(), startRelay()]);
});

after(async () => {
  await Promise.all([chromium?.close(), firefox?.stop()]);
  await relay?.stop();
  assert.deepEqual(complaints, []);
});

/** @param {Tab} tab */
const hears = (tab) => eventually('a sound', () => listen(tab, LISTEN_MS), (heard) => !isQuiet(heard));
/** @param {Tab} tab */
const hearsNothing = (tab) => eventually('silence', () => listen(tab, LISTEN_MS), isQuiet);

/** Ana in Chromium, Bo in Firefox, who see each other. @param {string} room */
async function pair(room) {
  const url = roomAt(relay.url, room, '?video=180p');
  const [ana, bo] = await Promise.all([openChromium(chromium, url), openFirefox(firefox, url)]);
  await Promise.all([enter(ana, 'Ana'), enter(bo, 'Bo')]);
  await Promise.all([shows(ana, 'Bo', { picture: 'on' }), shows(bo, 'Ana', { picture: 'on' })]);
  return { ana, bo, close: () => Promise.all([ana.close(), bo.close()]) };
}

test('a microphone and a camera that are switched off and on', { timeout: 180_000 }, async () => {
  const { ana, bo, close } = await pair('switched');
  const both = /** @type {[Tab, string, Tab, Tab['kind']][]} */ ([[ana, 'Ana', bo, 'chromium'], [bo, 'Bo', ana, 'firefox']]);
  await Promise.all(both.map(async ([one, name, other, kind]) => {
    await hears(other);
    await turn(one, 'microphone', false);
    await shows(other, name, { muted: true });
    await hearsNothing(other);
    await turn(one, 'microphone', true);
    await shows(other, name, { muted: false });
    await hears(other);

    await turn(one, 'camera', false);
    await shows(other, name, { picture: 'off' });
    await eventually('a camera that is let go', () => heldDevices(one), (held) => held.length === 1);
    await turn(one, 'camera', true);
    await shows(other, name, { picture: 'on' });
    await showsPattern(other, name, kind);
  }));
  await close();
});

test('a screen is shared, and no longer', { timeout: 180_000 }, async (t) => {
  const { ana, bo, close } = await pair('screen');
  // In the same colours in both browsers.
  const carmen = await openChromium(chromium, roomAt(relay.url, 'screen', '?video=180p'));
  await enterWithoutDevices(carmen, 'Carmen');
  await orTellAll(t, [ana, bo, carmen], async () => {
    await turn(ana, 'screen', true);
    await Promise.all([bo, carmen].map(async (tab) => {
      await shows(tab, 'Ana', { source: 'screen', picture: 'on' });
      await showsPattern(tab, 'Ana', 'chromium', 'screen');
      await shows(tab, 'Ana', { source: 'camera', picture: 'on' });
    }));
    await turn(ana, 'screen', false);
    await Promise.all([bo, carmen].map((tab) => showsNo(tab, 'Ana', { source: 'screen' })));
  });
  await Promise.all([close(), carmen.close()]);
});

test('the keyframes of a screen go over streams of their own, and are shown', { timeout: 180_000 }, async () => {
  const url = roomAt(relay.url, 'streams', '?video=180p&transport=webtransport');
  const [ana, bo] = await Promise.all([openChromium(chromium, url), openChromium(chromium, url)]);
  await Promise.all([enter(ana, 'Ana'), enter(bo, 'Bo')]);
  await shows(bo, 'Ana', { picture: 'on' });
  const figures = async () => (await Promise.all([ana, bo].map(diagnostics))).map(({ last }) => last?.framesOnStreams);
  const before = await eventually('figures', figures, (both) => both.every(Boolean));
  assert.deepEqual(before, [{ in: 0, out: 0 }, { in: 0, out: 0 }], 'cameras send datagrams');
  await turn(ana, 'screen', true);
  await shows(bo, 'Ana', { source: 'screen', picture: 'on' });
  const [sent, came] = await eventually('frames on streams', figures, ([sent, came]) => sent.out > 0 && came.in > 0);
  assert.deepEqual([sent.in, came.out], [0, 0]);
  await Promise.all([ana.close(), bo.close()]);
});

test('another camera and another microphone are taken in the meeting', { timeout: 180_000 }, async () => {
  const { ana, bo, close } = await pair('another');
  await ana.click(testId('open-settings'));
  for (const [choice, label] of [['settings-camera', 'fake_device_3'], ['settings-microphone', 'Fake Audio Input 2']]) {
    const value = await until(ana, label, ({ choice, label }) => {
      const options = [...document.querySelectorAll(`${choice} option`)];
      return options.find((option) => option.textContent === label)?.getAttribute('value') ?? '';
    }, { choice: testId(choice), label });
    await ana.select(testId(choice), value);
  }
  await eventually('the other devices alone', () => heldDevices(ana), (held) => String(held.toSorted()) === 'Fake Audio Input 2,fake_device_3');
  await ana.click(testId('settings-close'));
  await shows(bo, 'Ana', { picture: 'on', muted: false });
  await showsPattern(bo, 'Ana', 'chromium');
  await hears(bo);
  await close();
});

test('in the meeting one chooses how large a picture is sent, and what becomes of one\'s voice', { timeout: 120_000 }, async () => {
  const ana = await openChromium(chromium, roomAt(relay.url, 'chosen', '?video=180p'));
  await enter(ana, 'Ana');
  await ana.click(testId('open-settings'));
  assert.equal(await ana.evaluate((quality) => /** @type {HTMLSelectElement} */ (document.querySelector(quality)).value, testId('quality')), '180', 'as the address asks');
  const usual = await ana.evaluate(() => (navigator.hardwareConcurrency > 2 ? 720 : 360), null);
  for (const [lines, height] of /** @type {[string, number][]} */ ([['0', usual], ['180', 180]])) {
    await ana.select(testId('quality'), lines);
    await eventually(`a picture of ${height} lines`, () => settingsOf(ana, 'video'), (all) => all.length === 1 && all[0].height === height);
  }
  const before = { noiseSuppression: true, echoCancellation: true, autoGainControl: true };
  for (const [box, changed] of Object.entries({ 'noise-suppression': 'noiseSuppression', 'echo-cancellation': 'echoCancellation', 'gain-control': 'autoGainControl' })) {
    await ana.click(testId(box));
    Object.assign(before, { [changed]: false });
    await eventually(`a microphone without ${box}`, () => settingsOf(ana, 'audio'), ([first, ...others]) => others.length === 0 && first !== undefined
      && Object.entries(before).every(([name, value]) => /** @type {any} */ (first)[name] === value));
  }
  await ana.close();
});

test('a camera that is unplugged costs only the picture', { timeout: 180_000 }, async () => {
  const { ana, bo, close } = await pair('unplugged');
  await unplug(ana, 'video');
  await reads(ana, testId('toast'), /camera was unplugged/);
  await shows(bo, 'Ana', { picture: 'off' });
  await hears(bo);
  await turn(ana, 'camera', true);
  await showsPattern(bo, 'Ana', 'chromium');
  await close();
});

test('who leaves lets go of all devices, and is gone for the others', { timeout: 180_000 }, async () => {
  const { ana, bo, close } = await pair('leaving');
  await say(ana, 'I have to go');
  await sees(bo, 'I have to go');
  await ana.click(testId('leave'));
  await has(ana, `${testId('status')}[data-kind="ended"][data-reason="left"]`);
  await showsNo(bo, 'Ana');
  await eventually('no device that is held', () => heldDevices(ana), (held) => held.length === 0);
  await eventually('sound that rests', () => soundStates(ana), (states) => states.length > 0 && !states.includes('running'));
  await hearsNothing(bo);
  await close();
});

for (const [what, options, code, held] of /** @type {[string, Parameters<typeof startBrowser>[0], string, string[]][]} */ ([
  ['who denies camera and microphone', { denied: true }, 'device_denied', []],
  ['who has no camera', { cameras: 0 }, 'device_missing', ['Fake Default Audio Input']],
])) {
  test(`${what} is told, and takes part all the same`, { timeout: 120_000 }, async () => {
    const browser = await startBrowser(options);
    const url = roomAt(relay.url, code, '?video=180p');
    const [ana, bo] = await Promise.all([openChromium(browser, url), openChromium(chromium, url)]);
    await enter(bo, 'Bo');
    await has(ana, `${testId('media-problem')}[data-code="${code}"]`);
    await ana.fill(testId('name'), 'Ana');
    await ana.click(testId('join'));
    await isIn(ana);
    await showsPattern(ana, 'Bo', 'chromium');
    await shows(bo, 'Ana', { picture: 'off', muted: held.length === 0 });
    assert.deepEqual(await heldDevices(ana), held);
    await browser.close();
    await bo.close();
  });
}
