// Measures what the codecs of this machine's Chromium cost and give: `node tests/browser/codecs.js`. Pictures like those of a camera at 30 a
// second, encoded as a camera's are, one after the other, and decoded: CPU time of all processes of the browser, and how near they come.
import { readFile, readdir } from 'node:fs/promises';
import { startBrowser } from './relay.js';
import { serveFiles } from './files.js';

const FRAMES = 300;
const SIZES = [{ width: 640, height: 360 }, { width: 1280, height: 720 }];
/** Parts of what a rendition may have at most. */
const SHARES = [1, 0.5];

/** Runs in the page. @param {{ codec: 'vp8' | 'vp9' | 'av1' | null, width: number, height: number, share: number, frames: number }} job `null`: makes the pictures alone */
async function encode({ codec, width, height, share, frames }) {
  const { codecString, encoderConfigs, firstSupported } = await import(new URL('/web/sdk/media/send/codec.js', location.href).href);
  const { renditions } = await import(new URL('/web/sdk/media/send/renditions.js', location.href).href);
  const [{ bitrateMax }] = renditions({ width, height }, { count: 1, frameRate: 30 });
  const bitrate = bitrateMax * share;
  const pixels = width * height;
  const paint = (/** @type {number} */ number) => {
    const planes = new Uint8Array(pixels * 1.5).fill(128, pixels);
    let seed = number + 1;
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
        // Someone who moves before a wall, both with a grain, and the noise of a camera.
        const [dx, dy] = [x - width * (0.5 + 0.1 * Math.sin(number / 15)), y - height * 0.6];
        const isPerson = dx * dx + dy * dy < (height * 0.3) ** 2;
        const grain = isPerson ? ((Math.trunc(dx) * 7) ^ (Math.trunc(dy) * 5)) & 31 : ((x * 3) ^ (y * 11)) & 15;
        planes[at] = (isPerson ? 130 : 70 + (x * 40) / width) + grain + (seed >> 28);
      }
    }
    return planes;
  };
  const sources = Array.from({ length: 30 }, (_, number) => paint(number));
  const chunks = /** @type {EncodedVideoChunk[]} */ ([]);
  const config = codec && await firstSupported(encoderConfigs({ codec: codecString(codec, { width, height }), width, height, bitrate, frameRate: 30, isScreen: false }));
  const encoder = new VideoEncoder({ output: (chunk) => void chunks.push(chunk), error: reportError });
  if (config) encoder.configure(config);
  for (let number = 0; number < frames; number++) {
    // Forth and back, so that nothing jumps.
    const at = number % 58;
    const frame = new VideoFrame(sources[at < 30 ? at : 58 - at], { format: 'I420', codedWidth: width, codedHeight: height, timestamp: number * 33_333 });
    if (config) encoder.encode(frame, { keyFrame: number === 0 });
    frame.close();
    if (encoder.encodeQueueSize > 1) await new Promise((resolve) => encoder.addEventListener('dequeue', resolve, { once: true }));
  }
  if (config) await encoder.flush();
  Object.assign(globalThis, { job: { codec, config, chunks, sources, pixels, width } });
  return chunks.reduce((sum, { byteLength }) => sum + byteLength, 0) * 8 * 30 / frames;
}

/** Decodes what was encoded. Runs in the page. */
async function decode() {
  const { config, chunks } = /** @type {any} */ (globalThis).job;
  const decoder = new VideoDecoder({ output: (frame) => frame.close(), error: reportError });
  decoder.configure({ codec: config.codec, optimizeForLatency: true });
  for (const chunk of chunks) decoder.decode(chunk);
  await decoder.flush();
}

/** How near the pictures come, in decibels. Runs in the page. */
async function nearness() {
  const { config, chunks, sources, pixels } = /** @type {any} */ (globalThis).job;
  let [sum, count] = [0, 0];
  const compared = /** @type {Promise<void>[]} */ ([]);
  const decoder = new VideoDecoder({
    output: (frame) => {
      const number = Math.round(frame.timestamp / 33_333);
      compared.push((async () => {
        const planes = new Uint8Array(frame.allocationSize());
        const [{ offset, stride }] = await frame.copyTo(planes);
        const { displayWidth, displayHeight } = frame;
        frame.close();
        const at = number % 58;
        const source = sources[at < 30 ? at : 58 - at];
        for (let y = 0; y < displayHeight; y++) for (let x = 0; x < displayWidth; x++) sum += (planes[offset + y * stride + x] - source[y * displayWidth + x]) ** 2;
        count += pixels;
      })());
    },
    error: reportError,
  });
  decoder.configure({ codec: config.codec });
  for (const chunk of chunks) decoder.decode(chunk);
  await decoder.flush();
  await Promise.all(compared);
  return 10 * Math.log10(255 ** 2 / (sum / count));
}

/** CPU time of all processes below this one, in seconds. */
async function cpuSeconds() {
  const all = await Promise.all((await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(async (pid) => {
    const fields = (await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')).split(') ').at(-1)?.split(' ') ?? [];
    return { pid: Number(pid), parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
  }));
  const below = new Set([process.pid]);
  for (let size = 0; size !== below.size;) {
    size = below.size;
    for (const { pid, parent } of all) if (below.has(parent)) below.add(pid);
  }
  below.delete(process.pid);
  return all.reduce((sum, { pid, ticks }) => sum + (below.has(pid) ? ticks : 0), 0) / 100;
}

const [browser, files] = await Promise.all([startBrowser(), serveFiles()]);
for (const size of SIZES) {
  for (const share of SHARES) {
    for (const codec of /** @type {const} */ ([null, 'vp8', 'vp9', 'av1'])) {
      const page = await (await browser.newContext()).newPage();
      await page.goto(files.url);
      await page.evaluate(encode, { codec, ...size, share, frames: 30 });
      const before = await cpuSeconds();
      const bits = await page.evaluate(encode, { codec, ...size, share, frames: FRAMES });
      const between = await cpuSeconds();
      if (codec) await page.evaluate(decode);
      const [encodeMs, decodeMs] = [between - before, await cpuSeconds() - between].map((seconds) => ((seconds * 1000) / FRAMES).toFixed(1));
      console.log(`${size.height} lines, ${codec ?? 'pictures alone'}: ${encodeMs} ms of CPU to encode a picture, `
        + (codec ? `${decodeMs} ms to decode it, ${Math.round(bits / 1000)} kbit/s, ${(await page.evaluate(nearness)).toFixed(1)} dB` : ''));
      await page.context().close();
    }
  }
}
await browser.close();
await files.stop();
