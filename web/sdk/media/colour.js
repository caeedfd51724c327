/**
 * Which colours VP8 and VP9 stand for. Their streams do not say it, and browsers assume BT.709, although what cameras give is BT.601, as
 * RFC 6386 (section 9.2) has it for VP8. So is what browsers make of the pixels of a screen or a window, but for a tab: that is BT.709, and
 * announced in the description of the track, which these codecs need for nothing else.
 */

/** BT.601 as in North America, with the range of television. @type {VideoColorSpaceInit} */
const BT601 = { primaries: 'smpte170m', transfer: 'smpte170m', matrix: 'smpte170m', fullRange: false };
/** @type {VideoColorSpaceInit} */
const BT709 = { primaries: 'bt709', transfer: 'bt709', matrix: 'bt709', fullRange: false };

/** BT.709 by its numbers in ITU-T H.273: primaries, transfer, matrix, and whether the range is full. */
const BT709_NUMBERS = [1, 1, 1, 0];

/** @param {string} codec */
const isSilent = (codec) => codec === 'vp8' || codec.startsWith('vp09.');

/** What is announced of the colours. @param {string} codec @param {MediaTrackSettings} settings of what is captured @returns {Uint8Array<ArrayBuffer>} */
export function describeColour(codec, { displaySurface }) {
  return Uint8Array.from(isSilent(codec) && displaySurface === 'browser' ? BT709_NUMBERS : []);
}

/** @param {import('../wire/messages.js').TrackInfo} info @returns {VideoColorSpaceInit | undefined} left out: as the stream says, or the browser assumes */
export function colourOf({ codec, source, description }) {
  if (!isSilent(codec)) return undefined;
  if (String(description) === String(BT709_NUMBERS)) return BT709;
  return source === 'other' ? undefined : BT601;
}

/** What a decoder has to be told before the first frame. @param {import('../wire/messages.js').TrackInfo} info @returns {Pick<VideoDecoderConfig, 'description' | 'colorSpace'>} */
export function decoderHints(info) {
  const colorSpace = colourOf(info);
  const hasDescription = info.description.length > 0 && !isSilent(info.codec);
  return { ...(hasDescription && { description: info.description }), ...(colorSpace && { colorSpace }) };
}
