// The WebSocket of browsers, as far as the API document's JavaScript client uses it.
//
// Node 20 has none of its own. This one is built on node's http module alone, so that the client
// can be run without a network and without packages: text frames both ways, pings answered,
// closes echoed. RFC 6455 is meant by the section numbers.

'use strict';

const http = require('node:http');
const crypto = require('node:crypto');

const TEXT = 0x1;
const CLOSE = 0x8;
const PING = 0x9;
const PONG = 0xa;

// Section 5.2: a whole frame, masked as every client's must be.
function frame(opcode, payload) {
  const mask = crypto.randomBytes(4);
  const length = payload.length;
  let head;
  if (length < 126) {
    head = Buffer.from([0x80 | opcode, 0x80 | length]);
  } else if (length < 65536) {
    head = Buffer.alloc(4);
    head.set([0x80 | opcode, 0x80 | 126]);
    head.writeUInt16BE(length, 2);
  } else {
    head = Buffer.alloc(10);
    head.set([0x80 | opcode, 0x80 | 127]);
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  const masked = Buffer.from(payload.map((byte, index) => byte ^ mask[index % 4]));
  return Buffer.concat([head, mask, masked]);
}

class WebSocket {
  constructor(url) {
    this.onopen = this.onmessage = this.onclose = () => {};
    this._received = Buffer.alloc(0);
    const key = crypto.randomBytes(16).toString('base64');
    const request = http.request(url.replace(/^ws/, 'http'), {
      headers: {
        'Connection': 'Upgrade',
        'Upgrade': 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': key,
      },
    });
    request.on('upgrade', (response, socket, head) => {
      const accept = crypto.createHash('sha1')
        .update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
      if (response.headers['sec-websocket-accept'] !== accept) {
        throw new Error('the server did not understand the handshake');
      }
      this._socket = socket;
      socket.on('data', (data) => this._take(data));
      socket.on('close', () => this.onclose({}));
      this.onopen({});
      this._take(head);
    });
    request.on('error', () => this.onclose({}));
    request.end();
  }

  send(text) {
    this._socket.write(frame(TEXT, Buffer.from(text)));
  }

  close(code = 1000) {
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code);
    this._socket.write(frame(CLOSE, payload));
  }

  _take(data) {
    this._received = Buffer.concat([this._received, data]);
    while (this._received.length >= 2) {
      const opcode = this._received[0] & 0x0f;
      let length = this._received[1] & 0x7f;
      let start = 2;
      if (length === 126) {
        start = 4;
        if (this._received.length < start) return;
        length = this._received.readUInt16BE(2);
      } else if (length === 127) {
        start = 10;
        if (this._received.length < start) return;
        length = Number(this._received.readBigUInt64BE(2));
      }
      if (this._received.length < start + length) return;
      const payload = this._received.subarray(start, start + length);
      this._received = this._received.subarray(start + length);
      if (opcode === TEXT) this.onmessage({ data: payload.toString('utf8') });
      if (opcode === PING) this._socket.write(frame(PONG, payload));
      if (opcode === CLOSE) this._socket.end(frame(CLOSE, payload));
    }
  }
}

globalThis.WebSocket = WebSocket;
