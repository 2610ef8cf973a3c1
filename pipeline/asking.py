"""Ask a judge about one instruction, by each protocol, and compare two of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.algorithms.streams import seed32
from pipeline.domain import Role
from pipeline.flow import Failed, Flow, Generate, Generated, Sampling, generate
from pipeline.judge_settings import CHECKLIST, FLOW_JUDGE, RUBRIC, Judging
from pipeline.judge_texts import (
    ANSWERS,
    DIMENSIONS,
    ENUM_SCHEMA,
    FLOW_DIMENSIONS,
    LETTERS,
    QUESTIONS,
    RUBRIC_SCHEMA,
    Question,
    Subject,
    flow_prompt,
    pair_prompt,
    question_prompt,
    rubric_prompt,
)
from pipeline.meta_prompt import lenient_json
from pipeline.rating import Answered, Rating, share_of, weighted

ALTERNATIVES = 20  # of the first token: as many as Ollama gives
ENUM_TOKENS = 24  # of the JSON answer, white space included
RETRY_TEMPERATURE = 0.4
NO_LOGPROBS = "the server gives no log-probabilities, so the rubric was asked"
BETTER, WORSE, TIE = "better", "worse", "tie"
_FLOW_SCORE = re.compile(r"<score>\s*([1-5])(?:\.0+)?\s*</score>", re.IGNORECASE)
_STEPS = 4  # of Flow Judge's scale from 1 to 5


def ask(judging: Judging, subject: Subject, seed: int, *, role: Role = Role.JUDGE, protocol: str = "") -> Flow[Rating]:
    """Ask about *subject* by the wanted protocol; without log-probabilities the checklist falls back to the rubric.

    Args:
        judging: the settings.
        subject: what is judged.
        seed: of the marks around the instruction, and of further tries.
        role: who is asked.
        protocol: another one than the settings name.
    """
    wanted = protocol or judging.protocol
    if wanted == CHECKLIST:
        rating = yield from _checklist(subject, seed, role)
        if rating is not None:
            return rating
        return (yield from _rubric(judging, subject, seed, role, note=NO_LOGPROBS))
    if wanted == FLOW_JUDGE:
        return (yield from _flow_judge(judging, subject, seed, role))
    return (yield from _rubric(judging, subject, seed, role))


def compare(subject: Subject, incumbent: str, seed: int) -> Flow[str]:
    """Ask in both orders whether *subject*'s instruction is better than the prompt in use.

    Returns:
        `better`, `worse` or `tie` (the orders disagree); empty when the judge cannot be asked so.
    """
    shares: list[float] = []
    for index, pair in enumerate(((subject.instruction, incumbent), (incumbent, subject.instruction))):
        prompt = pair_prompt(subject, *pair, seed)
        reply = yield from generate(_one_token(Role.JUDGE, prompt, seed))
        share = None if isinstance(reply, Failed) else share_of(reply.alternatives, LETTERS[index], LETTERS[1 - index])
        if share is None:
            return ""
        shares.append(share)
    if min(shares) > 0.5:  # noqa: PLR2004 - likelier than not
        return BETTER
    return WORSE if max(shares) < 0.5 else TIE  # noqa: PLR2004 - same


def _checklist(subject: Subject, seed: int, role: Role) -> Flow[Rating | None]:
    """Ask the questions one by one; None when the server gives no log-probabilities at all."""
    answers: list[Answered] = []
    served_by = problem = ""
    heard = False
    for question in QUESTIONS:
        reply = yield from generate(_one_token(role, question_prompt(subject, question, seed), seed))
        if isinstance(reply, Failed):
            problem = f"{reply.kind}: {reply.message}"
            answers.append(Answered(name=question.name, good=None))
            continue
        served_by = reply.served_by or served_by
        if not reply.alternatives and not heard and reply.text.strip():
            return None  # a word without its probability; an empty first token is only no answer
        heard = heard or bool(reply.alternatives)
        good = share_of(reply.alternatives, question.good, _other(question.good))
        answer = Answered(name=question.name, good=good)
        answers.append(answer if good is not None else (yield from _forced(subject, question, seed, role)))
    score = weighted(answers)
    return Rating(
        protocol=CHECKLIST, score=score, answers=tuple(answers), served_by=served_by,
        problem="" if score is not None else problem or "too few questions were answered",
        failed=score is None and bool(problem),
    )  # fmt: skip


def _forced(subject: Subject, question: Question, seed: int, role: Role) -> Flow[Answered]:
    """Ask again for one of the two words as JSON, where the first token was neither."""
    prompt = question_prompt(subject, question, seed, as_json=True)
    sampling = Sampling(temperature=0.0, seed=seed32(seed, "enum"), num_predict=ENUM_TOKENS)
    reply = yield from generate(Generate(role=role, prompt=prompt, sampling=sampling, schema=ENUM_SCHEMA))
    data = lenient_json(reply.text) if isinstance(reply, Generated) else None
    said = data.get("answer") if isinstance(data, dict) else None
    good = float(said == question.good) if said in ANSWERS else None
    return Answered(name=question.name, good=good, forced=True)


def _rubric(judging: Judging, subject: Subject, seed: int, role: Role, *, note: str = "") -> Flow[Rating]:
    """Ask until the four scores can be read, with another seed each time."""
    prompt, problem, served_by, failed = rubric_prompt(subject, seed), "", "", True
    for attempt in range(judging.retries + 1):
        sampling = _try(seed, attempt, judging.num_predict)
        reply = yield from generate(Generate(role=role, prompt=prompt, sampling=sampling, schema=RUBRIC_SCHEMA))
        if isinstance(reply, Failed):
            problem = f"{reply.kind}: {reply.message}"
            continue
        served_by, failed = reply.served_by, False
        scores = read_scores(reply.text)
        if scores is not None:
            answers = tuple(
                Answered(name=name, good=score / 100) for name, score in zip(DIMENSIONS, scores, strict=True)
            )
            return Rating(protocol=RUBRIC, score=scores[-1], answers=answers, served_by=served_by, note=note)
        problem = "the verdict could not be read"
    return Rating(protocol=RUBRIC, score=None, served_by=served_by, problem=problem, note=note, failed=failed)


def _flow_judge(judging: Judging, subject: Subject, seed: int, role: Role) -> Flow[Rating]:
    """Ask for each dimension in Flow Judge's own format; the score is the mean on a scale from 0 to 100."""
    answers: list[Answered] = []
    served_by = problem = ""
    for dimension in FLOW_DIMENSIONS:
        prompt, score = flow_prompt(subject, dimension), None
        for attempt in range(judging.retries + 1):
            sampling = _try(seed, attempt, judging.flow_num_predict)
            reply = yield from generate(Generate(role=role, prompt=prompt, sampling=sampling))
            if isinstance(reply, Failed):
                problem = f"{reply.kind}: {reply.message}"
                continue
            served_by = reply.served_by or served_by
            score = read_flow_score(reply.text)
            if score is not None:
                break
        if score is None:
            return Rating(
                protocol=FLOW_JUDGE, score=None, answers=tuple(answers), served_by=served_by,
                problem=problem or f"no score of its {dimension} could be read", failed=bool(problem),
            )  # fmt: skip
        answers.append(Answered(name=dimension, good=(score - 1) / _STEPS))
    mean = 100 * sum(one.good or 0.0 for one in answers) / len(answers)
    return Rating(protocol=FLOW_JUDGE, score=mean, answers=tuple(answers), served_by=served_by)


def read_flow_score(text: str) -> int | None:
    r"""Read the last score of a reply, 1 to 5; None when there is none.

    >>> read_flow_score("<feedback>Clear.</feedback>\n<score>4</score>")
    4
    """
    found = _FLOW_SCORE.findall(text)
    return int(found[-1]) if found else None


def read_scores(text: str) -> tuple[float, ...] | None:
    """Read the rubric's four scores, None when one is missing or outside 0 to 100.

    >>> read_scores('{"coherence": 80, "actionability": "70", "specificity": 60, "overall": 71}')
    (80.0, 70.0, 60.0, 71.0)
    >>> read_scores('{"coherence": 80, "overall": 101}') is None
    True
    """
    data = lenient_json(text)
    if not isinstance(data, Mapping):
        return None
    scores: list[float] = []
    for name in DIMENSIONS:
        value = data.get(name)
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value.strip()[:4])
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:  # noqa: PLR2004 - the scale
            return None
        scores.append(float(value))
    return tuple(scores)


def _one_token(role: Role, prompt: str, seed: int) -> Generate:
    sampling = Sampling(temperature=0.0, seed=seed32(seed, "judge"), num_predict=1)
    return Generate(role=role, prompt=prompt, sampling=sampling, top_logprobs=ALTERNATIVES)


def _try(seed: int, attempt: int, num_predict: int) -> Sampling:
    temperature = 0.0 if attempt == 0 else RETRY_TEMPERATURE
    return Sampling(temperature=temperature, seed=seed32(seed, "judge", attempt), num_predict=num_predict)


def _other(answer: str) -> str:
    return ANSWERS[1 - ANSWERS.index(answer)]
