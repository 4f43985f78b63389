# ruff: noqa: RUF001
"""The abstract in Chinese, of the same findings."""

from typing import Any

from answer import EARLY, at, main_difference, missing, paper_protocol
from differences import verdict

from lgcn_jax.reporting.numerals import difference, metric
from lgcn_jax.reporting.sections import Section

CHINESE = {"better": "显著更高", "worse": "显著更低", "unclear": "与随机波动无法区分", "too few": "种子太少，无法检验"}
CHINESE_NAMES = {"both": "论文的组合损失", "margin": "仅用 margin", "contrast": "仅用对比项"}
OVER = ("按种子配对，", "按用户配对（各种子取平均），")
UNITS = {"seeds": ("个种子", "个配对种子"), "users": ("名用户", "名用户")}
PLAIN_CHINESE = {
    "better": "在 LastFM 上有效，但幅度很小",
    "worse": "无效：在 LastFM 上反而更差",
    "unclear": "训练结束时看不出任何可证实的提升",
    "too few": "目前种子太少，尚不能下结论",
}


def section(found: dict[str, Any]) -> Section:
    main = main_difference(found)
    if main is None:
        return Section("abstract-zh", "摘要", ["第一部分尚无结果，因此暂无结论。"], language="zh-Hans")
    first, second = main["means"]
    sentences = [
        f"{PLAIN_CHINESE[verdict(main)]}。在 LastFM 上，用验证集选择训练轮次时，"
        f"使用论文损失的 LightGCN 的测试集 recall@20 为 {metric(second)}，BPR 为 {metric(first)}，"
        f"差值 {told_in_chinese(main)}，{CHINESE[verdict(main)]}。"
    ]
    leads = found["losses"]["leads"]["both"]
    early, last = at(leads, EARLY), at(leads, 10**9)
    first, second = (f"第 {each['epoch']} 轮时平均领先 {difference(each['mean'])}" for each in (early, last))
    sentences.append(f"训练速度：{first}，{second}。")
    parts = [(name, main_difference(found, name)) for name in ("margin", "contrast")]
    known = [f"{CHINESE_NAMES[name]}：{told_in_chinese(row)}，{CHINESE[verdict(row)]}" for name, row in parts if row]
    if known:
        sentences.append(f"分解来看，{'；'.join(known)}。")
    rows = paper_protocol(found)
    names = {"test": "在测试集上选最佳轮次", "epoch 480": "取第 480 轮"}
    if rows:
        texts = [f"{names[row['protocol']]}时差值 {told_in_chinese(row)}，{CHINESE[verdict(row)]}" for row in rows]
        sentences.append(f"按论文选择轮次的方式，{'；'.join(texts)}。")
    if part := found["folded in"]:
        rows = zip(OVER, (part["differences"][0], part["users"][0]), strict=True)
        texts = [f"{over}差值 {told_in_chinese(row)}，{CHINESE[verdict(row)]}" for over, row in rows]
        whom = f"完全不参与训练、事后仅凭训练集物品折入（fold-in）的 {part['left out']['users']:,} 名用户"
        sentences.append(f"{whom}：{'；'.join(texts)}。")
    sentences.append(
        "原因：每个正样本只有一个负样本时，论文的对比项恰好等于把分数除以温度后的 BPR；"
        "margin 与温度改变的只是各样本对在梯度中的权重。"
        "以上结论只针对本报告写明的数据划分、超参数和训练预算。"
    )
    if missing(found):
        sentences.append("部分实验尚未完成，详见首页最后一条；对没有结果的部分，本报告不作任何判断。")
    return Section("abstract-zh", "摘要", sentences, language="zh-Hans")


def told_in_chinese(found: dict[str, Any]) -> str:
    unit, paired = UNITS[found["over"]]
    if found["low"] is None:
        return f"{difference(found['difference'])}（{found['pairs']:,} {unit}）"
    interval = f"95% 区间 {difference(found['low'])} 至 {difference(found['high'])}"
    return f"{difference(found['difference'])}（{interval}，{found['pairs']:,} {paired}）"
