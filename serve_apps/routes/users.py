"""What is kept of users: shown, and deleted."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from rayreel.client.events import DeletionReceipt, Person
from rayreel.events.read import kept_of
from serve_apps.problems import NotFound, answers
from serve_apps.service import CurrentService

router = APIRouter(tags=["people"])

UserId = Annotated[str, Path(min_length=1, max_length=256, pattern=r"^[^\x00]+$")]


@router.get("/v1/users/{user_id:path}", responses=answers(404, 422, 429, 503, 504))
async def show_user(
    user_id: UserId,
    service: CurrentService,
    limit: Annotated[int, Query(ge=1, le=10_000, description="Maximum number of events per page.")] = 1000,
    cursor: Annotated[str, Query(pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the previous page.")] = "0",
) -> Person:
    """Return everything that is kept of a user. Sessions and answers are on the first page."""
    found = await service.people.read(kept_of, user_id, int(cursor), limit)
    if found is None:
        raise NotFound("Nothing is kept of this user.")
    person, last = found
    return person.model_copy(update={"next_cursor": None if last is None else str(last)})


@router.delete("/v1/users/{user_id:path}", responses=answers(422, 429, 503, 504))
async def delete_user(user_id: UserId, service: CurrentService) -> DeletionReceipt:
    """Delete everything that is kept of a user, also in exports for training, and return the receipt."""
    return await service.people.forget(user_id)
