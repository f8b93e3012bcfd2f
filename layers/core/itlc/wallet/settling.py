"""What the queue `payments` carries: the steps of payments and of refunds."""

from itlc.wallet import payments, refunds
from itlc.wallet.saga import Saga

SAGA = Saga("settle_payments", {**payments.SAGA.steps, **refunds.SAGA.steps})
