/**
 * Starts workers and worklets of the SDK, also when the page is of another origin than the SDK: a browser refuses a worker from
 * a foreign address, but not one from a Blob that imports it.
 */

/** Blobs that import a module, by its address. As many as there are workers in the SDK. @type {Map<string, string>} */
const importing = new Map();

/** @param {string | URL} moduleUrl as `new URL('./send/send.worker.js', import.meta.url)` */
export function startWorker(moduleUrl) {
  const { href, origin } = new URL(moduleUrl);
  return new Worker(origin === globalThis.origin ? href : blobUrl(href), { type: 'module' });
}

/** Registers the processors of a module; a second time is none. @param {BaseAudioContext} context @param {string | URL} moduleUrl */
export async function addWorklet(context, moduleUrl) {
  // A worklet may come from any origin that allows it, and the relay does.
  await context.audioWorklet.addModule(String(moduleUrl));
}

/** @param {string} href */
function blobUrl(href) {
  const url = importing.get(href) ?? URL.createObjectURL(new Blob([`import ${JSON.stringify(href)};`], { type: 'text/javascript' }));
  importing.set(href, url);
  return url;
}
