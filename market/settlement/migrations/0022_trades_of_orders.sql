-- What an order paid in fees, and which trades it made, is asked for by the order.
CREATE INDEX trade_of_buy_order ON market.trade (buy_order_id);
CREATE INDEX trade_of_sell_order ON market.trade (sell_order_id);
