/**
 * Which colours VP8 and VP9 stand for. Their streams do not say it, and browsers assume BT.709, although what cameras give is BT.601, as
 * RFC 6386 (section 9.2) has it for VP8. What is made of the pixels of a screen is near to BT.709.
 */

/** BT.601 as in North America, with the range of television. @type {VideoColorSpaceInit} */
const CAMERA = { primaries: 'smpte170m', transfer: 'smpte170m', matrix: 'smpte170m', fullRange: false };

/** @param {import('../../wire/messages.js').TrackInfo} info @returns {VideoColorSpaceInit | undefined} left out: as the stream says, or the browser assumes */
export function colourOf({ codec, source }) {
  const isSilent = codec === 'vp8' || codec.startsWith('vp09.');
  return isSilent && source === 'camera' ? CAMERA : undefined;
}
