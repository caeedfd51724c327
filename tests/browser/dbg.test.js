import { after, before, test } from 'node:test';
import { startBrowser, startRelay } from './relay.js';
import { FAKE_DEVICES, decode, enable, forget, frames, openPublisher, run, until } from './sending.js';
let browser; let relay;
before(async () => { [browser, relay] = await Promise.all([startBrowser(FAKE_DEVICES), startRelay()]); });
after(async () => { await browser?.close(); await relay?.stop(); });
test('x', async () => {
  const page = await openPublisher(browser, relay.url);
  page.on('console', (m) => console.log('page', m.text())); page.on('pageerror', (e) => console.log('pageerror', e));
  await enable(page, 'camera', true, { width: 640, height: 360 });
  await frames(page, 5);
  await run(page, "navigator.mediaDevices.enumerateDevices().then((all) => publishing.switchActiveDevice('videoinput', all.filter(({ kind }) => kind === 'videoinput').map(({ deviceId }) => deviceId).find((id) => id !== publishing.activeDevice('videoinput'))))");
  await new Promise((r) => setTimeout(r, 1500));
  await forget(page);
  await enable(page, 'camera', true);
  await new Promise((r) => setTimeout(r, 2500));
  console.log(JSON.stringify((await run(page, 'test.frames.map(({header:h,bytes}) => [h.spatialLayer,h.frame,h.timestamp,bytes,h.temporalLayer].join())')).slice(0,30)), JSON.stringify(await run(page, 'publishing.stats()')), await run(page, 'test.events'));
  await page.context().close();
});
