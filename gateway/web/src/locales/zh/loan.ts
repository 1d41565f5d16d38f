/** 标的的交易规则、图表与还款记录。 */
import type { loan as en } from "../en/loan";

export const loan: Record<keyof typeof en, string> = {
  "chart.interval.trades": "逐笔",
  "payments.none": "自登记以来尚无还款处置记录。",
  "risk.finished": "该标的已结束，不再交易。",
  "title.latest": "最近 {n} 笔，共 {of} 笔转让；全部记录见 API。",
  "risk.nothingDue": "尚无到期期次，没有该借款人的还款记录可供参考。",
  "schedule.paid": "已还",
  "loan.rulebook": "交易规则",
  "rules.title": "交易规则（{name}）",
  "rules.minimum": "起投金额 {face}，最小变动 {lot}",
  "rules.noPremium": "不得溢价",
  "rules.maxDiscount": "折价率不超过 {n}%",
  "rules.yieldFloor": "收益率不低于 {n}",
  "rules.holding": "持有满 {n} 天方可转让",
  "rules.blackout": "还款日及其前 {n} 天不可交易",
  "rules.transfers": "同一债权最多转让 {n} 次",
  "rules.orderLife": "委托 {n} 小时后失效",
  "rules.currentOnly": "仅限正常还款期间",
  "rules.suitability": "买方风险等级不低于 {class}",
  "rules.fee.buyer": "买方费率 {n}",
  "rules.fee.seller": "卖方费率 {n}",
  "rules.and": "，",
  "rules.free": "免手续费",
};
