// What the page does in a meeting, with invented people.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as meeting from './meeting.js';
import { complaints, isSwitched, isToasted, shows, tile } from './meeting.js';
import * as pretended from './pretend/meet.js';
import { let_ } from './pretend/meet.js';
import { startPretend } from './pretend/server.js';
import { allStarted, startBrowser } from './relay.js';

/** @typedef {import('playwright-core').Page} Page */

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {{ url: string, stop(): void }} */
let pretend;

before(async () => {
  [browser, pretend] = await allStarted([startBrowser(), startPretend()]);
});

after(async () => {
  await browser?.close();
  pretend?.stop();
  assert.deepEqual(complaints, []);
});

/** @param {Parameters<typeof pretended.meet>[2]} [options] */
const meet = (options) => pretended.meet(browser, new URL('/r/calm-amber-harbor', pretend.url).href, options);

test('a screen that is paused says so, and goes on', { timeout: 60_000 }, async () => {
  const page = await meet();
  await let_(page, (pretend) => pretend.share('Bo'));
  const screen = tile(page, 'Bo', 'screen');
  assert.equal(await screen.getAttribute('aria-label'), 'Bo’s screen');
  await let_(page, (pretend) => pretend.mute('Bo', 'screen', true));
  await shows(page, 'Bo', { source: 'screen', picture: 'off', pinned: true });
  await screen.getByText('The screen is paused.').waitFor();
  assert.equal(await screen.getAttribute('aria-label'), 'Bo’s screen, The screen is paused.');
  await let_(page, (pretend) => pretend.mute('Bo', 'screen', false));
  await shows(page, 'Bo', { source: 'screen', picture: 'on' });
  assert.equal(await screen.getAttribute('aria-label'), 'Bo’s screen');
  await meeting.closeAll(page);
});

test('who shares a screen is told that it pauses, where it does', { timeout: 60_000 }, async () => {
  for (const [script, pauses] of /** @type {const} */ ([['', false], ['delete globalThis.MediaStreamTrackProcessor', true]])) {
    const page = await meet({ script });
    await meeting.toggle(page, 'screen');
    await shows(page, 'Ana Lucía', { source: 'screen', picture: 'on' });
    if (pauses) await isToasted(page, 'this browser pauses the screen');
    assert.equal(await page.getByTestId('toast').filter({ hasText: 'pauses' }).count(), pauses ? 1 : 0);
    await meeting.closeAll(page);
  }
});

test('a tile is pinned and put back, and a screen comes to the front by itself', { timeout: 60_000 }, async () => {
  const page = await meet();
  const layout = (/** @type {string} */ name) => page.locator(`#stage[data-layout="${name}"]`).waitFor();
  const pin = (/** @type {string} */ name) => page.getByRole('button', { name, exact: true });
  await layout('grid');
  await tile(page, 'Carmen').hover();
  await pin('Make Carmen large').click();
  await layout('focus');
  await page.locator('#focus').getByTestId('tile').and(tile(page, 'Carmen')).waitFor();
  assert.equal(await pin('Put Carmen back among the others').getAttribute('aria-pressed'), 'true');
  assert.deepEqual((await meeting.tiles(page)).filter(({ pinned }) => pinned).map(({ name }) => name), ['Carmen']);

  // Whom one chose stays large; the screen comes once nobody is chosen.
  await let_(page, (pretend) => pretend.share('Bo'));
  await shows(page, 'Carmen', { pinned: true });
  await pin('Put Carmen back among the others').click();
  await shows(page, 'Bo', { source: 'screen', pinned: true });
  await pin('Put Bo’s screen back among the others').click();
  await layout('grid');
  await shows(page, 'Bo', { source: 'screen', pinned: false });

  // Who leaves is no longer large.
  await tile(page, 'Carmen').hover();
  await pin('Make Carmen large').click();
  await layout('focus');
  await let_(page, (pretend) => pretend.leave('Carmen'));
  await layout('grid');
  await meeting.closeAll(page);
});

test('who speaks is marked, and comes to the first page', { timeout: 60_000 }, async () => {
  const page = await meet();
  await shows(page, 'Bo', { speaking: true });
  await shows(page, 'Carmen', { speaking: false });
  await let_(page, (pretend) => pretend.speak('Carmen'));
  await shows(page, 'Carmen', { speaking: true });
  await shows(page, 'Bo', { speaking: false });

  await let_(page, (pretend) => { for (const name of 'DEFGHIJKLMNOPQRST') pretend.join(name); });
  await page.getByTestId('page-next').waitFor();
  const shown = async () => (await meeting.tiles(page)).map(({ name }) => name);
  assert.equal((await shown()).includes('T'), false);
  await let_(page, (pretend) => pretend.speak('T'));
  await shows(page, 'T', { speaking: true });
  assert.deepEqual((await shown()).slice(0, 3), ['Ana Lucía', 'T', 'Bo']);
  await page.getByTestId('page-next').click();
  await tile(page, 'S').waitFor();
  assert.equal((await shown()).includes('T'), false);
  await meeting.closeAll(page);
});

test('single keys do things, not while one types, and not once they are switched off', { timeout: 60_000 }, async () => {
  const page = await meet();
  const panel = (/** @type {string} */ name) => page.locator(`[data-testid="panel"][data-shown="${name}"]`).waitFor({ state: 'attached' });
  const press = (/** @type {string} */ key) => page.keyboard.press(key);
  const isMute = async () => assert.equal(await page.getByTestId('toggle-microphone').getAttribute('aria-pressed'), 'false');
  await isSwitched(page, 'microphone', true);
  await press('m');
  await isSwitched(page, 'microphone', false);
  await press('v');
  await isSwitched(page, 'camera', false);
  await press('s');
  await isSwitched(page, 'screen', true);
  await press('p');
  await panel('people');
  await press('i');
  await panel('statistics');
  await press('c');
  await panel('chat');
  // The field has the focus now, and the keys are letters.
  await page.keyboard.type('mvp');
  assert.equal(await page.getByTestId('text').inputValue(), 'mvp');
  await isMute();
  await press('Escape');
  await panel('');
  await press('Control+p');
  await panel('');
  await press('?');
  await page.getByTestId('settings').waitFor();
  await press('m');
  await isMute();
  await page.getByTestId('shortcuts').uncheck();
  await press('Escape');
  await page.getByTestId('settings').waitFor({ state: 'hidden' });
  for (const key of 'mvp') await press(key);
  await page.getByTestId('toggle-people').click();
  await panel('people');
  await isMute();
  await isSwitched(page, 'camera', false);
  // They stay so on this device.
  assert.equal(await page.evaluate(() => JSON.parse(localStorage.getItem('tertulia.choices') ?? '{}').shortcuts), false);
  await meeting.closeAll(page);
});

test('where the browser keeps the sound back, a click turns it on', { timeout: 60_000 }, async () => {
  const page = await meet();
  const button = page.getByTestId('start-audio');
  assert.equal(await button.isVisible(), false);
  await let_(page, (pretend) => pretend.blockSound());
  await button.click();
  await let_(page, (pretend) => pretend.allowSound());
  await button.click();
  await button.waitFor({ state: 'hidden' });
  await meeting.closeAll(page);
});

test('an admin mutes someone, and is not offered what is muted already', { timeout: 60_000 }, async () => {
  const page = await meet();
  await meeting.openPanel(page, 'people');
  await page.getByRole('button', { name: 'Actions for Bo' }).click();
  const mutes = page.getByTestId('mute-track').filter({ visible: true });
  assert.deepEqual(await mutes.allTextContents(), ['Switch off microphone', 'Switch off camera']);
  await mutes.first().click();
  await shows(page, 'Bo', { muted: true });
  await page.getByRole('button', { name: 'Actions for Bo' }).click();
  assert.deepEqual(await mutes.allTextContents(), ['Switch off camera']);
  await meeting.closeAll(page);
});

test('who is muted by an admin is told, and can speak again', { timeout: 60_000 }, async () => {
  const page = await meet();
  await isSwitched(page, 'microphone', true);
  await let_(page, (pretend) => pretend.muteByAdmin('microphone'));
  await isToasted(page, 'An admin switched off your microphone. You can switch it on again.');
  await isSwitched(page, 'microphone', false);
  await shows(page, 'Ana Lucía', { muted: true });
  await meeting.toggle(page, 'microphone');
  await isSwitched(page, 'microphone', true);
  await shows(page, 'Ana Lucía', { muted: false });
  await meeting.closeAll(page);
});

test('nothing moves for who wants no motion', { timeout: 60_000 }, async () => {
  for (const reducedMotion of /** @type {const} */ (['no-preference', 'reduce'])) {
    const page = await meet({ reducedMotion });
    await let_(page, (pretend) => {
      pretend.say('Bo', 'Good morning!');
      pretend.reconnect();
    });
    await meeting.openPanel(page, 'chat');
    const moving = await page.evaluate(() => {
      const styles = [...document.querySelectorAll('*')].flatMap((node) => [null, '::before', '::after'].map((part) => getComputedStyle(node, part)));
      return styles.filter(({ animationName, transitionDuration }) => animationName !== 'none' || !/^0s(, 0s)*$/.test(transitionDuration)).length;
    });
    assert.equal(moving > 0, reducedMotion === 'no-preference', `${moving} of ${reducedMotion}`);
    await meeting.closeAll(page);
  }
});

test('why someone is not seen or heard is said in its own words, each kind once', { timeout: 60_000 }, async () => {
  const page = await meet();
  const said = () => page.locator('.toast.problem p').allTextContents();
  await let_(page, (pretend) => {
    pretend.fail('Bo', 'camera', 'codec_unsupported', 'Use a newer browser.');
    pretend.fail('Bo', 'microphone', 'codec_unsupported', 'Use a newer browser.');
    pretend.fail('Bo', 'microphone', 'codec_failed', 'Reload the page.');
    pretend.fail('Carmen', 'microphone', 'playback_failed', 'This page cannot play audio.');
    pretend.fail('Bo', 'microphone', 'playback_failed', 'This page cannot play audio.');
  });
  const key = 'If the meeting is encrypted, open the whole link, with the key.';
  assert.deepEqual(await said(), [
    'What Bo sends cannot be played here. Use a newer browser.', `What Bo sends cannot be played here. Reload the page. ${key}`, 'This page cannot play audio.',
  ]);
  await meeting.closeAll(page);
});

test('a page at an address that is not secure says so on each screen, and where to go', { timeout: 60_000 }, async () => {
  const script = `Object.defineProperty(window, 'isSecureContext', { value: false });
    if (location.search) sessionStorage.setItem('tertulia.seat', JSON.stringify({ room: 'calm-amber-harbor', name: 'Ana Lucía', ticket: '', untilMs: Date.now() + 60000, on: {} }));`;
  const open = (/** @type {string} */ path) => pretended.open(browser, new URL(path, pretend.url).href, { script });
  const told = (/** @type {Page} */ page, /** @type {string} */ screen) => page.getByTestId(`${screen}-problem`).filter({ visible: true }).getByTestId('insecure').textContent();
  const landing = await open('/');
  assert.equal(await told(landing, 'landing'), 'https://localhost:4433/');
  await landing.getByTestId('host-name').fill('Ana Lucía');
  await landing.getByTestId('meeting-link').fill('calm-amber-harbor');
  await landing.getByTestId('go').click();
  assert.equal(await told(landing, 'media'), 'https://localhost:4433/r/calm-amber-harbor');
  await landing.getByTestId('join').click();
  await meeting.isIn(landing);
  // Who comes back to the seat does not see what was said before joining.
  const back = await open('/r/calm-amber-harbor?back');
  await meeting.isIn(back);
  for (const page of [landing, back]) {
    assert.match((await told(page, 'meeting')) ?? '', /^https:\/\/localhost:4433\/r\/calm-amber-harbor/);
    await page.getByTestId('meeting-problem').getByText('Nobody can be seen or heard at this address').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Microphone', exact: true, description: 'Browsers hide the microphone at this address: it is not secure' }).isDisabled(), true);
    await let_(page, (pretend) => {
      pretend.join('Bo');
      pretend.fail('Bo', 'camera', 'codec_unsupported', 'Use a newer browser.');
    });
    await meeting.shows(page, 'Bo', { picture: 'on' });
    assert.equal(await page.locator('.toast.problem').count(), 0);
  }
  await meeting.closeAll(landing, back);
});

test('who comes back is told why the last try failed', { timeout: 60_000 }, async () => {
  const page = await meet();
  const status = () => page.getByTestId('status').locator('p').textContent();
  const rest = 'What you write meanwhile is sent when you are back.';
  await let_(page, (pretend) => {
    pretend.reconnect();
    pretend.failToReconnect('relay_unreachable', 'The relay cannot be reached, join again.', 1);
  });
  assert.equal(await status(), `Reconnecting… The connection to the relay broke. ${rest}`, 'for a moment');
  await let_(page, (pretend) => pretend.failToReconnect('relay_unreachable', 'The relay cannot be reached, join again.', 5));
  assert.equal(await status(), `Reconnecting… The relay cannot be reached. Check the network. ${rest}`);
  await let_(page, (pretend) => pretend.failToReconnect('room_full', 'The room is full; try again when someone has left.', 6));
  assert.equal(await status(), `Reconnecting… The room is full; try again when someone has left. ${rest}`);
  await page.locator('[data-testid="status"][data-kind="working"][data-reason="room_full"]').waitFor();
  await meeting.closeAll(page);
});

test('a link that is copied on the relay\'s own computer leads others to it, with room and key', { timeout: 60_000 }, async () => {
  const script = "Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => { window.copied = text; } } })";
  const copied = (/** @type {Page} */ page) => page.evaluate(() => /** @type {any} */ (window).copied);
  const url = new URL('/r/calm-amber-harbor#key=AAECAwQFBgcICQoLDA0ODw', pretend.url).href;
  const addresses = ['https://192.0.2.7:4433/', 'https://10.0.0.5:4433/'];
  const page = await pretended.meet(browser, url, { script, relay: { webtransport: 4433, certificateSha256: 'ab', addresses } });
  await page.getByTestId('copy-link').click();
  await isToasted(page, 'Link copied, with the key. Send it to whom you want to see. Their browsers will warn');
  assert.equal(await copied(page), 'https://192.0.2.7:4433/r/calm-amber-harbor#key=AAECAwQFBgcICQoLDA0ODw');
  const alone = await pretended.meet(browser, url, { script, relay: { webtransport: 4433, certificateSha256: 'ab', addresses: [] } });
  await alone.getByTestId('copy-link').click();
  await isToasted(alone, 'It works on this computer only: others do not reach this relay.');
  assert.equal(await copied(alone), url);
  await meeting.closeAll(page, alone);
});

test('a relay that does not answer again keeps nobody from copying the link', { timeout: 60_000 }, async () => {
  const script = "Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => { window.copied = [...(window.copied ?? []), text]; } } });"
    // The page gives no question up, so that none of them ends by itself.
    + 'AbortSignal.timeout = () => new AbortController().signal;';
  const page = await pretended.meet(browser, new URL('/r/calm-amber-harbor', pretend.url).href, { script, relay: { webtransport: 4433, addresses: ['https://192.0.2.7:4433/'] } });
  let asked = 0;
  await page.route(/\/relay\.json/, () => void asked++);
  for (let at = 0; at < 3; at++) {
    await page.getByTestId('copy-link').click();
    await page.waitForFunction((count) => /** @type {any} */ (window).copied?.length === count, at + 1);
  }
  assert.deepEqual(await page.evaluate(() => /** @type {any} */ (window).copied), Array(3).fill('https://192.0.2.7:4433/r/calm-amber-harbor'));
  assert.ok(asked > 0);
  await meeting.closeAll(page);
});

test('a link that the browser does not let the page copy is there until it is dismissed', { timeout: 60_000 }, async () => {
  const url = new URL('/r/calm-amber-harbor#key=AAECAwQFBgcICQoLDA0ODw', pretend.url).href;
  for (const clipboard of ['undefined', "{ writeText: async () => { throw new Error('not allowed'); } }"]) {
    const page = await pretended.meet(browser, url, { script: `Object.defineProperty(navigator, 'clipboard', { value: ${clipboard} })` });
    await page.clock.install();
    for (const times of ['once', 'again']) {
      await page.getByTestId('copy-link').click();
      await isToasted(page, url);
      await let_(page, (pretend) => { for (let at = 0; at < 5; at++) pretend.muteByAdmin('microphone'); });
      assert.deepEqual([await page.locator('.toast.problem').count(), await page.locator('.toast.lasting').count()], [3, 1]);
      await page.clock.runFor(60_000);
      assert.deepEqual(await page.getByTestId('toast').allTextContents(), [`The browser does not let the page copy this link. It works on this computer only. ${url}`], times);
    }
    const link = page.getByTestId('toast').locator('p');
    await link.click({ clickCount: 3 });
    assert.ok((await page.evaluate(() => getSelection()?.toString() ?? '')).includes(url));
    await page.getByTestId('toast').getByRole('button', { name: 'Dismiss' }).click();
    assert.equal(await page.getByTestId('toast').count(), 0);
    await meeting.closeAll(page);
  }
});

const TELEPHONE = { viewport: meeting.PHONE, hasTouch: true };

test('a finger sees the pin before it touches it', { timeout: 60_000 }, async () => {
  for (const [options, opacity] of /** @type {[meeting.ContextOptions, string][]} */ ([[TELEPHONE, '1'], [{}, '0']])) {
    const page = await meet({ ...options, reducedMotion: 'reduce' });
    // The mouse is elsewhere.
    await page.mouse.move(0, 0);
    const pin = tile(page, 'Carmen').getByTestId('pin');
    assert.equal(await pin.evaluate((node) => getComputedStyle(node).opacity), opacity);
    if (opacity === '1') await pin.tap();
    else await tile(page, 'Carmen').hover().then(() => pin.click());
    await shows(page, 'Carmen', { pinned: true });
    await meeting.closeAll(page);
  }
});

test('what is said in passing lies over no tile of a telephone, and what asks for something comes back', { timeout: 60_000 }, async () => {
  // Where it comes to rest.
  const page = await meet({ ...TELEPHONE, reducedMotion: 'reduce' });
  await let_(page, (pretend) => {
    pretend.lose('camera', 'device_denied');
    pretend.room.setLocked(true);
  });
  await isToasted(page, 'The room is locked');
  const box = async (/** @type {import('playwright-core').Locator} */ one) => {
    const found = await one.boundingBox();
    if (!found) throw new Error('it is not shown');
    return found;
  };
  const isClear = async (/** @type {string} */ text) => {
    const { y, height } = await box(page.getByTestId('toast').filter({ visible: true }));
    for (const one of await page.getByTestId('tile').all()) assert.ok(y + height <= (await box(one)).y, text);
  };
  await isClear('news');
  await page.getByTestId('toast').filter({ visible: true }).getByRole('button', { name: 'Dismiss' }).tap();
  await isToasted(page, 'The camera is not allowed.');
  await isClear('a problem');
  await meeting.closeAll(page);
});

test('the list of people says in words who is heard and seen', { timeout: 60_000 }, async () => {
  const page = await meet();
  await meeting.openPanel(page, 'people');
  const carmen = page.getByRole('listitem').filter({ hasText: 'Carmen' });
  await carmen.getByRole('img', { name: 'Microphone off', exact: true }).waitFor();
  await carmen.getByRole('img', { name: 'Camera on', exact: true }).waitFor();
  await let_(page, (pretend) => pretend.mute('Carmen', 'microphone', false));
  await carmen.getByRole('img', { name: 'Microphone on', exact: true }).waitFor();
  const own = page.getByRole('listitem').filter({ hasText: 'Ana Lucía' });
  await own.getByRole('img', { name: 'Microphone on', exact: true }).waitFor();
  await meeting.toggle(page, 'microphone');
  await own.getByRole('img', { name: 'Microphone off', exact: true }).waitFor();
  await own.getByRole('img', { name: 'Camera on', exact: true }).waitFor();
  await meeting.closeAll(page);
});

test('the badge says why it is WebSocket', { timeout: 60_000 }, async () => {
  const page = await meet(TELEPHONE);
  const badge = page.getByTestId('badge');
  for (const [reason, words] of [['udp_blocked', 'UDP is blocked'], ['no_webtransport', 'no WebTransport here'], ['browser', 'better in this browser'], ['chosen', 'the link asks for it']]) {
    await page.evaluate((reason) => /** @type {any} */ (window).pretend.run('websocket', reason), reason);
    assert.match((await badge.textContent()) ?? '', new RegExp(`^WebSocket · ${words} · \\d+ ms`));
    const { x = 0, width = Infinity } = (await badge.boundingBox()) ?? {};
    assert.ok(x + width <= meeting.PHONE.width, words);
  }
  await meeting.closeAll(page);
});

test('what is said while the chat is closed is counted, in each meeting anew', { timeout: 60_000 }, async () => {
  const page = await meet();
  const chat = (/** @type {string} */ name) => page.getByRole('button', { name, exact: true }).waitFor();
  for (const round of ['first', 'second']) {
    await chat('Chat');
    await let_(page, (pretend) => { for (const text of ['Good morning!', 'Is everyone here?']) pretend.say('Bo', text); });
    await chat('Chat, 2 unread');
    await meeting.openPanel(page, 'chat');
    await chat('Chat');
    await let_(page, (pretend) => pretend.say('Bo', 'You are.'));
    await meeting.closePanel(page);
    await let_(page, (pretend) => pretend.say('Bo', 'Are you?'));
    await chat('Chat, 1 unread');
    if (round === 'first') await comeBack(page);
  }
  await meeting.closeAll(page);
});

/** Leaves, and goes in again without loading the page anew. @param {Page} page */
async function comeBack(page) {
  await page.evaluate(() => {
    history.pushState(null, '', '/r/calm-amber-harbor');
    history.back();
  });
  await meeting.enterWithDevices(page, 'Ana Lucía');
  await let_(page, (pretend) => pretend.join('Bo'));
}

test('a name has to be one, and the one that was said last is taken', { timeout: 60_000 }, async () => {
  const page = await pretended.open(browser, new URL('/r/calm-amber-harbor', pretend.url).href);
  const [name, problem] = [page.getByTestId('name'), page.getByTestId('join-error')];
  for (const [wrong, words] of /** @type {const} */ ([['', /^Say a name/], ['   ', /^Say a name/], ['名'.repeat(64), /^This name is too long/]])) {
    for (const button of ['join', 'join-without']) {
      await name.fill(wrong);
      await page.getByTestId(button).click();
      assert.match((await problem.textContent()) ?? '', words);
      assert.equal(await page.evaluate(() => document.activeElement?.id), 'name');
    }
  }
  await name.fill('  名前 ');
  await page.evaluate(() => {
    history.pushState(null, '', '/');
    dispatchEvent(new PopStateEvent('popstate'));
  });
  await page.getByTestId('host-name').fill('Ana Lucía');
  await page.getByTestId('meeting-link').fill('calm-amber-harbor');
  await page.getByTestId('go').click();
  assert.equal(await name.inputValue(), 'Ana Lucía');
  // What is typed here stays when the fragment alone changes.
  await name.fill('Bo ');
  await page.evaluate(() => { location.hash = 'key=AAECAwQFBgcICQoLDA0ODw'; });
  await page.locator('#prejoin-encryption[data-on="true"]').waitFor();
  await page.getByTestId('join').click();
  await meeting.isIn(page);
  await tile(page, 'Bo').waitFor();
  await meeting.closeAll(page);
});

test('where the browser remembers nothing, a refusal leaves the name as it was said', { timeout: 60_000 }, async () => {
  const script = `Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('not allowed', 'SecurityError'); } });
    window.refuses = { code: 'room_full', message: 'The room is full; try again when someone has left.' };`;
  const page = await pretended.open(browser, new URL('/r/calm-amber-harbor', pretend.url).href, { script });
  await page.getByTestId('name').fill('Ana Lucía');
  for (const button of ['join', 'join-without']) {
    await page.getByTestId(button).click();
    await page.locator('#join-error', { hasText: 'full' }).waitFor();
    assert.equal(await page.getByTestId('name').inputValue(), 'Ana Lucía');
  }
  await meeting.closeAll(page);
});

test('a loudspeaker is offered only where the browser lets one choose it', { timeout: 60_000 }, async () => {
  for (const [script, isOffered] of /** @type {const} */ ([['', true], ['window.keepsSpeaker = true', false]])) {
    const page = await pretended.open(browser, new URL('/r/calm-amber-harbor', pretend.url).href, { script });
    await page.locator('[data-testid="device-microphone"]:visible option').first().waitFor({ state: 'attached' });
    assert.equal(await page.getByTestId('device-speaker').isVisible(), isOffered);
    await meeting.closeAll(page);
  }
});

test('a message that is too long is edited, not sent in vain again', { timeout: 60_000 }, async () => {
  const page = await meet();
  await let_(page, (pretend) => pretend.refuseChat('chat_too_long', 'The message is too long. Send it in parts.'));
  await meeting.openPanel(page, 'chat');
  const [to, text, failed] = [page.getByTestId('to'), page.getByTestId('text'), page.locator('.message.failed')];
  for (const [first, then, result, focus] of /** @type {const} */ ([
    ['Bo', 'Bo', 'Bo', 'text'], ['Everyone', 'Everyone', 'Everyone', 'text'], ['Bo', 'Everyone', 'Bo', 'to'], ['Everyone', 'Bo', 'Bo', 'to'], ['Bo', 'Carmen', 'Carmen', 'to'],
  ])) {
    await to.selectOption({ label: first });
    await meeting.say(page, 'A long story');
    await failed.waitFor();
    assert.deepEqual(await failed.getByRole('button').allTextContents(), ['Edit', 'Discard']);
    await to.selectOption({ label: then });
    await text.fill('and more');
    await failed.getByRole('button', { name: 'Edit' }).click();
    assert.equal(await text.inputValue(), 'A long story\nand more');
    const focused = await page.evaluate(() => document.activeElement?.id);
    assert.deepEqual([await failed.count(), await page.locator('#to option:checked').textContent(), focused], [0, result, focus], `${first}, then ${then}`);
  }
  // With nothing else in the box, it is for whom it was.
  await to.selectOption({ label: 'Everyone' });
  await meeting.say(page, 'A long story');
  await to.selectOption({ label: 'Bo' });
  await failed.getByRole('button', { name: 'Edit' }).click();
  assert.equal(await page.locator('#to option:checked').textContent(), 'Everyone');
  await meeting.closeAll(page);
});

test('what is written to one who leaves is not for everyone then', { timeout: 60_000 }, async () => {
  const page = await meet();
  await meeting.openPanel(page, 'chat');
  const chosen = page.locator('#to option:checked');
  await page.getByTestId('to').selectOption({ label: 'Bo' });
  await page.getByTestId('text').fill('For you alone');
  const stays = async (/** @type {string} */ gone) => {
    await page.locator(`[data-testid="tile"][data-name="${gone}"]`).first().waitFor({ state: 'detached' });
    assert.equal(await chosen.textContent(), 'Bo (has left)', `${gone} has left`);
  };
  await let_(page, (pretend) => pretend.leave('Bo'));
  await stays('Bo');
  await let_(page, (pretend) => pretend.leave('Carmen'));
  await stays('Carmen');
  assert.notEqual(await page.getByTestId('to').inputValue(), '');
  // Once another is chosen, the one who has left can be chosen no more.
  await page.getByTestId('to').selectOption({ label: 'Everyone' });
  await let_(page, (pretend) => pretend.join('Dai'));
  await page.locator('#to option', { hasText: 'Bo' }).waitFor({ state: 'detached' });
  await meeting.closeAll(page);
});

test('names and messages go in the direction of their letters', { timeout: 60_000 }, async () => {
  const page = await meet();
  await let_(page, (pretend) => {
    pretend.join('דנה');
    pretend.say('דנה', 'שלום!');
  });
  await meeting.openPanel(page, 'chat');
  await meeting.sees(page, 'שלום!');
  const directions = await page.evaluate(() => {
    const said = [...document.querySelectorAll('.bubble, .head strong, .tile .name, .who')].filter((node) => /[א-ת]/.test(node.textContent ?? ''));
    return said.map((node) => getComputedStyle(node).direction);
  });
  assert.deepEqual(directions, ['rtl', 'rtl', 'rtl', 'rtl']);
  await meeting.closeAll(page);
});
