/** How video is encoded: VP8, which every browser does in real time, or what has proved to be fast enough on this machine. */

/** @typedef {'vp8' | 'vp9' | 'av1'} VideoCodecName */
/** @typedef {VideoCodecName | 'auto'} VideoCodecChoice `auto`: the best that proves fast enough */

/** Everyone can decode it. */
export const BASELINE = 'vp8';
/** An encoder that fails again within this time, in milliseconds, does not work here. */
export const FAILED_AGAIN_MS = 30_000;
/** An encoder that takes frames and gives nothing for so long hangs, in milliseconds. On a busy machine, one takes seconds to begin. */
export const SILENT_MS_MAX = 10_000;

/** Frames of a proof, and how many of them only warm up. */
export const PROOF_FRAMES = 12;
export const PROOF_WARM_UP_FRAMES = 4;
/** A frame may take this part of the interval: the other renditions, the decoders and the page want to run as well. */
const FAST_ENOUGH = 0.35;
/** Frames that an encoder may hold back. Some hold back dozens, and lag by seconds. */
const HELD_FRAMES_MAX = 1;
/** With fewer cores, encoding competes with decoding: nothing but the baseline. */
const CORES_MIN = 4;

/** The least levels that hold a picture: pixels, and the level's number in the codec string of VP9 and AV1. At 30 frames a second. */
const LEVELS = [
  { pixels: 640 * 360, vp9: '21', av1: '01' },
  { pixels: 960 * 540, vp9: '30', av1: '04' },
  { pixels: 1280 * 720, vp9: '31', av1: '05' },
  { pixels: 2048 * 1152, vp9: '40', av1: '08' },
  { pixels: Infinity, vp9: '50', av1: '12' },
];

/**
 * The full string: some browsers refuse a short one.
 * @param {VideoCodecName} name @param {{ width: number, height: number }} size of the largest rendition
 */
export function codecString(name, { width, height }) {
  const level = LEVELS.find(({ pixels }) => width * height <= pixels) ?? LEVELS[LEVELS.length - 1];
  switch (name) {
    case 'vp8': return 'vp8';
    case 'vp9': return `vp09.00.${level.vp9}.08`;
    case 'av1': return `av01.0.${level.av1}M.08`;
  }
}

/**
 * @typedef {object} Encoding
 * @property {string} codec its full string
 * @property {number} width
 * @property {number} height
 * @property {number} bitrate bits per second
 * @property {number} frameRate
 * @property {boolean} isScreen
 */

/**
 * Configurations in the order in which they are to be tried: temporal layers, constant bitrate and software first. Software begins
 * at once; hardware may hold frames back, and is taken where there is nothing else.
 * @param {Encoding} encoding
 * @returns {VideoEncoderConfig[]}
 */
export function encoderConfigs({ codec, width, height, bitrate, frameRate, isScreen }) {
  /** @type {VideoEncoderConfig} */
  const basic = { codec, width, height, bitrate, framerate: frameRate, latencyMode: 'realtime' };
  const layered = { ...basic, scalabilityMode: isScreen ? 'L1T2' : 'L1T3' };
  /** @type {VideoEncoderConfig} */
  const software = { ...layered, hardwareAcceleration: 'prefer-software' };
  return [
    { ...software, bitrateMode: isScreen ? 'variable' : 'constant' },
    software,
    { ...software, scalabilityMode: 'L1T2' },
    layered,
    { ...basic, hardwareAcceleration: 'prefer-software' },
    basic,
  ];
}

/** How many temporal layers a configuration has. @param {VideoEncoderConfig} config */
export function temporalLayers({ scalabilityMode }) {
  return Number(/^L1T(\d)/.exec(scalabilityMode ?? '')?.[1] ?? 1);
}

/** The same with fewer of them. One is not named: some browsers know no L1T1. @param {VideoEncoderConfig} config @param {number} count @returns {VideoEncoderConfig} */
export function withTemporalLayers(config, count) {
  const { scalabilityMode, ...basic } = config;
  return count > 1 && scalabilityMode ? { ...basic, scalabilityMode: `L1T${count}` } : basic;
}

/** @param {VideoEncoderConfig[]} configs @returns {Promise<VideoEncoderConfig | null>} the first that this browser takes */
export async function firstSupported(configs) {
  for (const config of configs) {
    const { supported } = await VideoEncoder.isConfigSupported(config).catch(() => ({ supported: false }));
    if (supported) return config;
  }
  return null;
}

/** How few temporal layers the browser takes as well, all else being the same. @param {VideoEncoderConfig} config that it takes @returns {Promise<number>} */
export async function fewestTemporalLayers(config) {
  let fewest = temporalLayers(config);
  while (fewest > 1 && (await firstSupported([withTemporalLayers(config, fewest - 1)]))) fewest--;
  return fewest;
}

/** @typedef {{ encodeMs: number[], heldFrames: number }} Proof what each frame took after the warm-up, and how many frames were held back at most */

/** @param {Proof} proof @param {number} frameRate */
export function isFastEnough({ encodeMs, heldFrames }, frameRate) {
  if (encodeMs.length === 0 || heldFrames > HELD_FRAMES_MAX) return false;
  const mean = encodeMs.reduce((sum, ms) => sum + ms, 0) / encodeMs.length;
  return mean <= (1000 / frameRate) * FAST_ENOUGH;
}

/**
 * Proves the better codecs by encoding with them, and falls back to the baseline.
 * @param {VideoCodecChoice} choice
 * @param {object} machine
 * @param {number} machine.cores
 * @param {number} machine.frameRate
 * @param {(name: VideoCodecName) => Promise<Proof | null>} machine.prove `null`: it cannot encode that
 * @returns {Promise<VideoCodecName>}
 */
export async function chooseCodec(choice, { cores, frameRate, prove }) {
  if (choice === 'auto' && cores < CORES_MIN) return BASELINE;
  /** @type {VideoCodecName[]} */
  const candidates = choice === 'auto' ? ['av1', 'vp9'] : choice === BASELINE ? [] : [choice];
  for (const name of candidates) {
    const proof = await prove(name);
    if (proof && isFastEnough(proof, frameRate)) return name;
  }
  return BASELINE;
}
