"""Reports of experiments."""

import time
from typing import Annotated

from fastapi import APIRouter, Path

from rayreel.client.experiments import ExperimentReport
from rayreel.experiments.report import report
from serve_apps.problems import NotFound, answers
from serve_apps.service import CurrentService

router = APIRouter(tags=["operation"])


@router.get("/v1/experiments/{name}", responses=answers(404, 429, 503, 504))
async def show_experiment(name: Annotated[str, Path(max_length=256)], service: CurrentService) -> ExperimentReport:
    """Return what the arms of an experiment have reached."""
    experiment = (await service.scenarios.refresh()).get(name)
    if experiment is None:
        raise NotFound("There is no experiment of this name.")
    kept, live = await service.state.kept(), service.state.current.live
    return await service.people.read(report, live, name, experiment, time.time(), kept=kept)
