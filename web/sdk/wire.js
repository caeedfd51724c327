/** What the bytes mean. PROTOCOL.md says the same in words, `tests/golden/wire.json` in bytes. */
export { MESSAGE_BYTES_MAX } from './wire/codec.js';
export {
  VERSION, decodeClientChat, decodeClientMessage, decodeServerChat, decodeServerMessage, encodeClientChat,
  encodeClientMessage, encodeServerChat, encodeServerMessage,
} from './wire/messages.js';
export {
  FRAGMENTS_MAX, HEADER_BYTES, MEDIA_BYTES_MAX, PREFIX_BYTES, TRACK_ECHO, decodeDatagram, decodeMedia, encodeDatagram,
} from './wire/media.js';
export { WANTED_MAX, WHOLE_FRAME, addWanted, decodeRepeatRequest, encodeRepeatRequest, isRepeatRequest, wants } from './wire/repeat.js';
export { CLOSE_REASONS, REFUSE_REASONS, isFinal, reasonOfWebSocketCode, webSocketCodeOfReason } from './wire/reasons.js';
export { MessageBuffer, STREAM_KIND, delimit } from './wire/stream.js';
