/** A reverse proxy: takes a path off, and says who calls. */
import http from 'node:http';

/** @param {number} port of the server @param {string} prefix @param {Record<string, string>} more headers */
export async function startProxy(port, prefix, more) {
  const forward = (request) => ({
    host: '127.0.0.1', port, method: request.method, path: request.url.slice(prefix.length) || '/',
    headers: { ...request.headers, ...more },
  });
  const proxy = http.createServer((request, response) => {
    if (!request.url.startsWith(`${prefix}/`)) return void response.writeHead(404).end('another site');
    const onward = http.request(forward(request), (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  });
  const sockets = new Set();
  proxy.on('connection', (socket) => sockets.add(socket));
  proxy.on('upgrade', (request, socket, head) => {
    const onward = http.request(forward(request));
    onward.on('upgrade', (answer, server, first) => {
      const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('')}\r\n`);
      socket.write(first);
      server.write(head);
      for (const one of [socket, server]) one.on('error', () => {});
      server.pipe(socket).pipe(server);
    });
    onward.on('response', () => socket.destroy());
    onward.on('error', () => socket.destroy());
    onward.end();
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${proxy.address().port}${prefix}`,
    close() {
      proxy.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
