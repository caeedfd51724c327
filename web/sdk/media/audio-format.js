/** How audio is encoded: Opus, whole frames, each by itself. */

/** Samples per second and channel. Opus runs at this rate inside. */
export const OPUS_SAMPLE_RATE = 48_000;
/** A frame, in milliseconds: what Opus is best at, and one datagram. */
export const AUDIO_FRAME_MS = 20;
/** A frame, in samples per channel. */
export const AUDIO_FRAME_SAMPLES = (OPUS_SAMPLE_RATE * AUDIO_FRAME_MS) / 1000;
