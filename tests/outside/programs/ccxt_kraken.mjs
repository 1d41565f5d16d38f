// ccxt's own `kraken` class in JavaScript with nothing changed but its URLs: the same as ccxt_kraken.py does in Python.
import assert from "node:assert/strict";
import ccxt from "ccxt";

const url = process.env.MARKET_URL;
const socket = url.replace("http", "ws") + "/v2";
const symbol = process.env.MARKET_SYMBOLS.split(",")[0];
const [loan, currency] = symbol.split("/");
const urls = {
  api: { public: url, private: url, ws: { public: socket, private: socket, publicV2: socket, privateV2: socket } },
};

async function done(what, call) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no answer`)), 30_000);
  });
  try {
    const result = await Promise.race([call, late]);
    console.log(`  ${what}`);
    return result;
  } finally {
    clearTimeout(timer);
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function readTheMarket(exchange) {
  const markets = await done("load markets", exchange.loadMarkets());
  assert.deepEqual([markets[symbol].base, markets[symbol].quote, markets[symbol].active], [loan, currency, true]);
  const book = await done("fetch order book", exchange.fetchOrderBook(symbol, 10));
  assert.equal(book.bids.length, 10);
  assert.ok(book.bids[0][0] < book.asks[0][0]);
  const ticker = await done("fetch ticker", exchange.fetchTicker(symbol));
  assert.ok(ticker.bid < ticker.ask && ticker.last > 0);
  assert.equal((await done("fetch trades", exchange.fetchTrades(symbol, undefined, 5))).length, 5);
  assert.ok((await done("fetch ohlcv", exchange.fetchOHLCV(symbol, "1m"))).length > 0);
}

async function watchTheMarket(exchange) {
  for (let n = 0; n < 50; n++) {
    const book = await exchange.watchOrderBook(symbol, 10);
    assert.ok(book.bids[0][0] < book.asks[0][0], "a book is never crossed");
    assert.deepEqual([book.bids.length, book.asks.length], [10, 10]);
  }
  console.log("  watch order book, 50 times");
  assert.equal((await done("watch ticker", exchange.watchTicker(symbol))).symbol, symbol);
  assert.ok((await done("watch trades", exchange.watchTrades(symbol))).length > 0);
  assert.ok((await done("watch ohlcv", exchange.watchOHLCV(symbol, "1m"))).length > 0);
}

async function tradeByRest(exchange) {
  const balance = await done("fetch balance", exchange.fetchBalance());
  assert.ok(balance[currency].free > 0);
  const order = await done("create order", exchange.createOrder(symbol, "limit", "buy", 10.5, 90.37));
  await done("edit order", exchange.editOrder(order.id, symbol, "limit", "buy", 9, 90.5));
  const [shown] = await done("fetch open orders", exchange.fetchOpenOrders(symbol));
  assert.deepEqual([shown.id, shown.amount, shown.price, shown.status], [order.id, 9, 90.5, "open"]);
  await done("cancel order", exchange.cancelOrder(order.id));
  assert.equal((await done("fetch order", exchange.fetchOrder(order.id))).status, "canceled");
  const bought = await done("create market order", exchange.createOrder(symbol, "market", "buy", 5));
  const mine = await done("fetch my trades", exchange.fetchMyTrades(symbol));
  const filled = mine.filter((trade) => trade.order === bought.id).reduce((sum, trade) => sum + trade.amount, 0);
  assert.equal(filled, 5);
  await exchange.createOrder(symbol, "limit", "buy", 5, 90);
  await done("cancel all orders", exchange.cancelAllOrders());
  assert.deepEqual(await exchange.fetchOpenOrders(), []);
  await assert.rejects(exchange.createOrder(symbol, "limit", "buy", 1e9, 90), ccxt.InsufficientFunds);
  await assert.rejects(exchange.cancelOrder(order.id), ccxt.OrderNotFound);
}

async function tradeBySocket(exchange) {
  const balance = await done("watch balance", exchange.watchBalance());
  assert.ok(balance.total[currency] > 0);
  const orders = exchange.watchOrders(symbol);
  await pause(500);
  const order = await done("create order", exchange.createOrderWs(symbol, "limit", "buy", 7, 90));
  const seen = await done("watch orders", orders);
  assert.deepEqual([seen.at(-1).id, seen.at(-1).status], [order.id, "open"]);
  await done("edit order", exchange.editOrderWs(order.id, symbol, "limit", "buy", 6.5, 90.2));
  const [shown] = await exchange.fetchOpenOrders(symbol);
  assert.deepEqual([shown.id, shown.amount, shown.price], [order.id, 6.5, 90.2]);
  await done("cancel order", exchange.cancelOrderWs(order.id));
  const trades = exchange.watchMyTrades(symbol);
  await pause(500);
  const bought = await done("create market order", exchange.createOrderWs(symbol, "market", "buy", 4));
  const mine = await done("watch my trades", trades);
  assert.deepEqual([mine.at(-1).order, mine.at(-1).side], [bought.id, "buy"]);
  assert.ok(mine.at(-1).cost > 0);
  await exchange.createOrderWs(symbol, "limit", "buy", 5, 90, { postOnly: true });
  const told = await done("cancel all orders", exchange.cancelAllOrdersWs());
  assert.equal(told.result.count, 1);
  await assert.rejects(exchange.createOrderWs(symbol, "limit", "buy", 1e9, 90), ccxt.InsufficientFunds);
}

const exchange = new ccxt.pro.kraken({
  apiKey: process.env.MARKET_KEY,
  secret: process.env.MARKET_SECRET,
  urls,
  enableRateLimit: false,
});
console.log("ccxt", ccxt.version);
await exchange.loadHttpProxyAgent(); // what ccxt asks for before it opens a socket without TLS
try {
  for (const part of [readTheMarket, watchTheMarket, tradeByRest, tradeBySocket]) {
    console.log(part.name);
    await part(exchange);
  }
} finally {
  await exchange.close();
}
process.exit(0);
