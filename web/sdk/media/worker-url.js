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

/** How long a worker has for its last messages, in milliseconds: a frame that nobody closes keeps a decoder or a camera waiting. */
const RETIRE_MS = 1000;

/** Ends a worker when it has done what it was told. Nothing is heard of it any more. @param {Worker} worker */
export function retireWorker(worker) {
  worker.onmessage = null;
  worker.onerror = (event) => event.preventDefault();
  setTimeout(() => worker.terminate(), RETIRE_MS);
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
