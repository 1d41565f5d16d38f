// k6: a thousand sockets that read books while somebody trades. Each must get its snapshot and go on hearing updates.
import { WebSocket } from "k6/experimental/websockets";
import { check } from "k6";
import { Counter } from "k6/metrics";

const symbols = __ENV.MARKET_SYMBOLS.split(",");
const url = __ENV.MARKET_URL.replace("http", "ws") + "/v2?num=json";
const SOCKETS = 50; // of each virtual user
const SECONDS = 20;
const updates = new Counter("book_updates");
const sockets = new Counter("sockets_served");

export const options = {
  scenarios: { readers: { executor: "per-vu-iterations", vus: 20, iterations: 1, maxDuration: "120s" } },
  thresholds: {
    checks: ["rate==1"],
    sockets_served: ["count==1000"],
    book_updates: ["count>10000"],
  },
};

export default function () {
  for (let n = 0; n < SOCKETS; n++) {
    read(symbols[n % symbols.length]);
  }
}

function read(symbol) {
  const socket = new WebSocket(url);
  let snapshots = 0;
  let heard = 0;
  let gaps = 0;
  let last = null;
  socket.onopen = () => {
    socket.send(JSON.stringify({ method: "subscribe", params: { channel: "book", symbol: [symbol], depth: 10 } }));
    setTimeout(() => {
      check(null, {
        "one snapshot": () => snapshots === 1,
        "updates": () => heard > 0,
        "no gap": () => gaps === 0,
      });
      updates.add(heard);
      sockets.add(1);
      socket.close();
    }, SECONDS * 1000);
  };
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.channel !== "book") {
      return;
    }
    const row = message.data[0];
    if (message.type === "snapshot") {
      snapshots += 1;
    } else {
      heard += 1;
      gaps += row.prev_seq === last ? 0 : 1;
    }
    last = row.seq;
  };
  socket.onerror = (error) => {
    check(error, { "no error": () => false });
  };
}
