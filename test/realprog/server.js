// A Node.js program with timers, worker threads and a TCP server. Ends on SIGTERM with PASS.
'use strict';
const net = require('net');
const { Worker, isMainThread, parentPort } = require('worker_threads');

if (!isMainThread) {
  parentPort.on('message', n => parentPort.postMessage(n * n));
} else {
  const worker = new Worker(__filename);
  let ticks = 0, squares = 0;
  const data = Array.from({ length: 100000 }, (_, i) => ({ i, text: 'x'.repeat(i % 17) }));
  const fail = text => { console.log('FAIL: ' + text); process.exit(1); };
  worker.on('message', n => { if (n !== squares * squares) fail(`${n} for ${squares}`); squares++; });
  const timer = setInterval(() => { worker.postMessage(ticks++); }, 5);
  const server = net.createServer(socket => {
    let lines = 0, rest = '';
    socket.on('data', chunk => {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop();
      for (const part of parts) socket.write(`${lines++} ${part}\n`);
    });
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1', () => console.log('READY ' + server.address().port));
  process.on('SIGTERM', () => {
    clearInterval(timer);
    data.forEach((d, i) => { if (d.i !== i || d.text.length !== i % 17) fail('data ' + i); });
    setTimeout(() => { if (squares !== ticks) fail(`${squares} of ${ticks}`); console.log('PASS'); process.exit(0); }, 200);
  });
}
