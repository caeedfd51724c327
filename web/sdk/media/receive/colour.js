/**
 * Which colours VP8 and VP9 stand for. Their streams do not say it, and browsers assume BT.709, although what cameras give is BT.601, as
 * RFC 6386 (section 9.2) has it for VP8. So is what browsers make of the pixels of a screen or a window. Those of a tab that is shared
 * are BT.709 and come out a little off; nothing that is announced tells one from the other.
 */

/** BT.601 as in North America, with the range of television. @type {VideoColorSpaceInit} */
const DEVICE = { primaries: 'smpte170m', transfer: 'smpte170m', matrix: 'smpte170m', fullRange: false };

/** @param {import('../../wire/messages.js').TrackInfo} info @returns {VideoColorSpaceInit | undefined} left out: as the stream says, or the browser assumes */
export function colourOf({ codec, source }) {
  const isSilent = codec === 'vp8' || codec.startsWith('vp09.');
  return isSilent && source !== 'other' ? DEVICE : undefined;
}
