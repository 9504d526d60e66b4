"""What tests share: models and servers made for them, a command driven, made-up scores."""
