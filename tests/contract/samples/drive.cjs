// Runs the API document's JavaScript client for a test.
//
// node drive.cjs FILE URL USER: FILE holds the class as printed. What the client logs goes to
// standard output, each call as a line of JSON; each line of standard input, a list of arguments,
// is one sendMessage. The end of the input ends the client.

'use strict';

require('./websocket_shim.cjs');
const fs = require('node:fs');
const readline = require('node:readline');

const [file, url, user] = process.argv.slice(2);
console.log = (...values) => process.stdout.write(JSON.stringify(values) + '\n');
const IMClient = new Function(fs.readFileSync(file, 'utf8') + '\nreturn IMClient;')();
const client = new IMClient(url, user);
client.connect();
const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => client.sendMessage(...JSON.parse(line)));
lines.on('close', () => client.ws.close());
