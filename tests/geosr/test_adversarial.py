"""Discriminators, and the losses that come of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geosr.model.discriminator import PlainDiscriminator, UNetDiscriminator, build_discriminator
from geosr.training.adversarial import AdversarialLoss, grid_loss, layers_loss


@pytest.mark.parametrize("bands", [1, 3, 4, 10])
@pytest.mark.parametrize(("rows", "cols"), [(32, 32), (24, 40), (29, 35)])
def test_the_u_net_judges_each_pixel(bands, rows, cols):
    logits, features = UNetDiscriminator(bands, 4)(torch.randn(2, bands, rows, cols))
    assert logits.shape == (2, 1, rows, cols)
    assert [one.shape[1] for one in features] == [4, 8, 16, 32, 16, 8, 4]
    assert features[-1].shape[-2:] == (rows, cols)


def test_the_u_net_is_that_of_the_paper():
    """Names and shapes of the published discriminator's layers, whose kernels are normalised but for first and last."""
    state = UNetDiscriminator(3, 64).state_dict()
    shapes = {key.split(".")[0]: tuple(value.shape) for key, value in state.items() if value.dim() == 4}
    assert shapes == {
        "conv0": (64, 3, 3, 3),
        "conv1": (128, 64, 4, 4),
        "conv2": (256, 128, 4, 4),
        "conv3": (512, 256, 4, 4),
        "conv4": (256, 512, 3, 3),
        "conv5": (128, 256, 3, 3),
        "conv6": (64, 128, 3, 3),
        "conv7": (64, 64, 3, 3),
        "conv8": (64, 64, 3, 3),
        "conv9": (1, 64, 3, 3),
    }
    assert {key.split(".")[0] for key in state if "original" in key} == {f"conv{i}" for i in range(1, 9)}


def test_normalised_kernels_have_the_spectral_norm_1():
    network = UNetDiscriminator(4, 4)
    torch.nn.init.normal_(network.conv2.parametrizations.weight.original, std=3)
    for _ in range(50):
        network(torch.randn(1, 4, 16, 16))
    network.eval()
    for conv in (network.conv1, network.conv2, network.conv5, network.conv8):
        norm = torch.linalg.matrix_norm(conv.weight.detach().flatten(1), 2)
        assert float(norm) == pytest.approx(1, abs=0.02)
    assert float(torch.linalg.matrix_norm(network.conv0.weight.detach().flatten(1), 2)) != pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("side", [16, 37])
def test_the_plain_discriminator_gives_a_probability_of_the_whole(side):
    probability, features = PlainDiscriminator(4, 4)(5 * torch.randn(3, 4, side, side))
    assert probability.shape == (3, 1)
    assert ((probability > 0) & (probability < 1)).all()
    assert len(features) == 8
    assert [one.shape[1] for one in features] == [4, 4, 8, 8, 16, 16, 32, 32]


@pytest.mark.parametrize("name", ["unet", "plain"])
def test_a_discriminator_learns_to_tell_stripes_from_noise(name):
    torch.manual_seed(0)
    network = build_discriminator(name, 2, 4)
    loss = AdversarialLoss(logits=name == "unet")
    stripes = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(4).expand(1, 2, 16, 16)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2, betas=(0.5, 0.999))
    for _ in range(30):
        real, fake = (network(image)[0] for image in (stripes.repeat(4, 1, 1, 1), torch.randn(4, 2, 16, 16)))
        optimiser.zero_grad()
        loss.of_discriminator(real, fake).backward()
        optimiser.step()
    assert float(loss.score(real)) > float(loss.score(fake)) + 0.1


@pytest.mark.parametrize("loss", [AdversarialLoss(), AdversarialLoss(relativistic=True), AdversarialLoss(logits=False)])
def test_each_side_s_loss_falls_as_it_wins(loss):
    low, high = (torch.full((2, 1), value) for value in ((-2.0, 2.0) if loss.logits else (0.1, 0.9)))
    assert loss.of_discriminator(high, low) < loss.of_discriminator(low, high)
    assert loss.of_generator(low, high) < loss.of_generator(high, low)
    fake = low.clone().requires_grad_()
    loss.of_generator(high, fake).backward()
    assert (fake.grad < 0).all()
    fake.grad = None
    loss.of_discriminator(high, fake).backward()
    assert (fake.grad > 0).all()


def test_adversarial_losses_are_the_binary_cross_entropy():
    zero = torch.zeros(3, 1)
    for loss, even in ((AdversarialLoss(), zero), (AdversarialLoss(logits=False), zero + 0.5)):
        assert float(loss.of_discriminator(even, even)) == pytest.approx(np.log(2))
        assert float(loss.of_generator(even, even)) == pytest.approx(np.log(2))
        assert float(loss.score(even)) == 0.5
    # Relativistic, only differences count.
    relativistic = AdversarialLoss(relativistic=True)
    real, fake = torch.randn(5, 1), torch.randn(5, 1)
    torch.testing.assert_close(relativistic.of_generator(real, fake), relativistic.of_generator(real + 3, fake + 3))
    assert AdversarialLoss().of_generator(real, fake) == AdversarialLoss().of_generator(real + 3, fake)


def test_features_are_compared_relative_to_their_size():
    true = [torch.full((1, 2, 4, 4), 10.0), torch.full((1, 2, 4, 4), 0.1)]
    made = [(1.5 * true[0]).requires_grad_(), (1.1 * true[1]).requires_grad_()]
    assert float(layers_loss(true, true)) == 0
    assert layers_loss(made, true).item() == pytest.approx((0.5 + 0.1) / 2, rel=1e-3)
    loss = layers_loss(made, true, (3.0, 1.0))
    assert loss.item() == pytest.approx((3 * 0.5 + 0.1) / 4, rel=1e-3)
    loss.backward()
    assert (made[0].grad > 0).all()


def test_only_what_repeats_with_every_lr_pixel_is_a_grid():
    pattern = torch.randn(1, 1, 4, 4)
    repeated = pattern.repeat(2, 3, 8, 8)
    assert float(grid_loss(repeated, 4)) == pytest.approx(float(pattern.abs().mean()), rel=1e-5)
    # What repeats with half of the frequency, and changes its sign in between, is none.
    assert float(grid_loss(torch.cat([pattern, -pattern], dim=-1).repeat(2, 3, 8, 4), 4)) == pytest.approx(0, abs=1e-6)
