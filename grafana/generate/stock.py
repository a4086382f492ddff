"""What is not for sale and why, and what is set apart for contracts."""

from generate.colours import BAD, REASONS, named
from generate.frame import Placed, Question
from generate.links import TO_CUSTOMER, TO_GPU_TYPE
from generate.panels import Column, Meaning, bars, graph, none_wanted, rows
from generate.queries import Query, max_by, of, sum_by


def out_of_stock() -> Question:
    """Hosts that earn nothing, each under one reason, and sources that disagree about hosts."""
    by_reason = sum_by("reason", of("spotd_out_of_stock_hosts"))
    return Question(
        asks="What is not for sale, and why?",
        panels=(
            Placed(
                panel=graph(
                    Meaning(
                        title="Out of stock by reason",
                        description="Each GPU host that is not for sale, under the first reason that holds.",
                    ),
                    Query(f"{by_reason}", "{{reason}}"),
                    colours=REASONS,
                    stacked=True,
                ),
                width=10,
                height=12,
            ),
            Placed(
                panel=rows(
                    Meaning(
                        title="Out of stock now",
                        description="Hosts for each GPU type and reason that has some.",
                        empty="none, or unknown",
                    ),
                    (
                        Column(field="gpu_type", title="GPU type", link=TO_GPU_TYPE),
                        Column(
                            field="reason",
                            title="Reason",
                            words=named(REASONS),
                        ),
                        Column(field="Value", title="Hosts", bar_to=0),
                    ),
                    Query(f"{max_by('gpu_type, reason', of('spotd_out_of_stock_hosts'))} > 0"),
                    sort_by="Hosts",
                ),
                width=8,
                height=12,
            ),
            Placed(
                panel=bars(
                    Meaning(
                        title="Sources that disagree",
                        description="Contradictions between NetBox, Nova and Placement about hosts, by kind."
                        " Green: none. Red from 1: one of them is wrong, and so are numbers built on it"
                        " (alert SpotdSourcesContradict).",
                    ),
                    "kind",
                    Query(max_by("kind", of("spotd_contradictions"))),
                    heading="Kind",
                    value="Count",
                    steps=none_wanted(BAD),
                ),
                width=6,
                height=12,
            ),
        ),
    )


def contracts() -> Question:
    """What is set apart for each contract, and how much of it is used."""
    labels = "contract, gpu_type"
    gpus, used = of("spotd_contract_gpus"), of("spotd_contract_gpus_used")
    return Question(
        asks="How much of their contracts do customers use?",
        panels=(
            Placed(
                panel=rows(
                    Meaning(
                        title="Contracts",
                        empty="none, or unknown",
                        description="Hosts that are set apart for a contract. The bar is what the customer"
                        " uses.",
                    ),
                    (
                        Column(field="contract", title="Contract", link=TO_CUSTOMER),
                        Column(field="gpu_type", title="GPU type"),
                        Column(field="Value #A", title="Hosts", width=85),
                        Column(field="Value #B", title="GPUs", width=85),
                        Column(field="Value #C", title="Used", width=85),
                        Column(
                            field="Value #D", title="Used share", unit="percentunit", decimals=0, bar_to=1
                        ),
                    ),
                    Query(max_by(labels, of("spotd_contract_hosts"))),
                    Query(max_by(labels, gpus)),
                    Query(max_by(labels, used)),
                    Query(max_by(labels, of("spotd_contract_gpu_utilization_ratio"))),
                    sort_by="Contract",
                    falling=False,
                ),
                width=12,
                height=8,
            ),
            Placed(
                panel=graph(
                    Meaning(
                        title="Used share of contracts",
                        empty="none, or unknown",
                        description="Used GPUs over GPUs of the contract's hosts for sale. Gaps: unknown.",
                        unit="percentunit",
                    ),
                    Query(
                        max_by(labels, of("spotd_contract_gpu_utilization_ratio")),
                        "{{contract}} {{gpu_type}}",
                    ),
                    full=1,
                ),
                width=12,
                height=8,
            ),
        ),
    )
